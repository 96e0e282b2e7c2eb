"""A user's own task: from a small YAML file, or from column names on the command line.

The keys of the file are the fields of ``TaskSpec``; only ``text`` must be there:

    text: [sentence]
    label: opinion
    labels: [negative, positive]
    metrics: [macro_f1]
    spans:
      - {column: sentence, start: from, end: to}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import TypeAdapter, ValidationError

from headstart.errors import ConfigError, HeadstartError, did_you_mean, raise_all
from headstart.files.contents import UnreadableError, read_text
from headstart.files.yamlfile import load_yaml
from headstart.tasks.metrics import DEFAULTS, canonical_names, metric_faults
from headstart.tasks.spec import SPAN_KEYS, TASK_KEYS, InputShape, Span, Target, TaskSpec

_LISTS = ("text", "choices", "metrics", "labels", "label_columns", "splits", "spans")


def read_task_file(path: Path) -> TaskSpec:
    """Read a task from a YAML file.

    ``name`` defaults to the file's name, ``shape`` to what the columns allow, ``metrics`` to
    ``DEFAULTS``. Where a field takes several values, one alone needs no list. ``hub`` is written
    ``path`` or ``path:configuration``. Raises ``HeadstartError`` if the file cannot be read, or for
    every fault in it together.
    """
    values = _read_yaml(path)
    known = {key: value for key, value in values.items() if key in _keys(TaskSpec)}
    clean = _with_defaults(known, path.stem)
    task, mistyped = _build(clean)
    faults: list[HeadstartError] = [*_unknown_keys(values), *map(_explain, mistyped)]
    if not (clean["text"] or clean.get("image") or clean.get("audio")):
        expected = f"text: the text columns, in {path}; or image or audio"
        faults.append(ConfigError(expected, "none", "Add them."))
    else:
        wrong = {item["loc"][0] for item in mistyped}
        faults += task_faults(task, target_known="target" not in wrong)
    raise_all(faults)
    return task


def from_columns(
    text: Sequence[str],
    label: str = "label",
    *,
    image: str | None = None,
    audio: str | None = None,
    choices: Sequence[str] = (),
    span: str | Sequence[str] | None = None,
    target: Target | Literal["auto"] = "auto",
    metrics: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    label_columns: Sequence[str] = (),
    label_separator: str | None = None,
    name: str = "custom",
) -> TaskSpec:
    """Make a task of column names.

    Args:
        text: One text column, two for a pair; with ``choices``, those that make up the first text.
        label: Label column.
        image: Column with images or their paths, in place of text.
        audio: Column with sound or its paths, in place of text.
        choices: Columns with the candidates of a multiple-choice task.
        span: Targets inside the text: the column with a target's words, or ``START:END``, the
            columns with its offsets. Several are separated by commas; in a pair the second belongs
            to the second text.
        target: What the label is; ``auto`` is ``classes`` until the labels have been looked at.
        metrics: Names of metrics; none takes the default of the target.
        labels: Class names in order; none takes them from the training rows.
        label_columns: Columns of 0 and 1, one a label.
        label_separator: What stands between the labels of a row in the label column.
        name: The task's name.

    Returns:
        The task.

    Raises:
        HeadstartError: For all faults together.
    """
    several = bool(label_columns or label_separator)
    open_: Target = "multilabel" if several else "classes"
    decided: Target = open_ if target == "auto" else target
    inputs = {"text": text, "choices": choices, "image": image, "audio": audio}
    task = TaskSpec(
        name=name,
        shape=_shape({**inputs, "target": decided}),
        text=tuple(text),
        image=image,
        audio=audio,
        choices=tuple(choices),
        label=label,
        label_columns=tuple(label_columns),
        label_separator=label_separator,
        target=decided,
        labels=tuple(labels) if labels else None,
        metrics=canonical_names(metrics or ()) or DEFAULTS[decided],
        spans=_parse_spans(text, span),
    )
    raise_all(task_faults(task, target_known=several or target != "auto"))
    return task


def task_faults(task: TaskSpec, *, target_known: bool = True) -> list[HeadstartError]:
    """Return what contradicts itself in a task.

    Metrics must fit ``task.target`` where that is known.
    """
    return [
        *_shape_faults(task),
        *_label_faults(task),
        *_span_faults(task),
        *metric_faults(task.metrics, task.target if target_known else None),
        *(
            ConfigError("values: a column of the task", repr(key), did_you_mean(key, task.columns))
            for key in task.values
            if key not in task.columns
        ),
    ]


def _shape_faults(task: TaskSpec) -> Iterator[ConfigError]:
    wanted = {"single": 1, "pair": 2, "tokens": 1, "image": 0, "audio": 0}.get(task.shape)
    given = len(task.text)
    for shape, column in (("image", task.image), ("audio", task.audio)):
        if (task.shape == shape) != bool(column):
            fix = f"Name the column as {shape}, or leave out both."
            yield ConfigError(f"{shape}: a column, for shape {shape}", repr(column), fix)
    if wanted is not None and given != wanted:
        expected = f"{wanted} text column{'s' * (wanted != 1)} for shape {task.shape}"
        fix = "Give one text column, two for a pair, or choice columns for multiple choice."
        yield ConfigError(expected, f"{given}: {', '.join(task.text)}" if given else "none", fix)
    if task.shape == "choice" and len(task.choices) < 2:
        found = ", ".join(task.choices) or "none"
        yield ConfigError("two or more choice columns", found, "Name the column of each candidate.")
    if task.shape != "choice" and task.choices:
        yield ConfigError(
            f"no choice columns for shape {task.shape}",
            ", ".join(task.choices),
            "Remove them, or make the shape choice.",
        )
    texts = (*task.text, *task.choices)
    for column in sorted({name for name in texts if texts.count(name) > 1}):
        yield ConfigError("each text column once", f"{column!r} twice", "Name another column.")


def _label_faults(task: TaskSpec) -> Iterator[ConfigError]:
    for name in (name for name in task.answers if name in task.columns):
        fix = "Name another column as the label."
        yield ConfigError("a label column that is not input", repr(name), fix)
    yield from _several_faults(task)
    if task.target != "classes" and task.shape == "choice":
        yield ConfigError("classes for multiple choice", f"target {task.target}", "Remove target.")
    if (task.shape == "tokens") != (task.target == "tags"):
        fix = "Give the words of each row and a tag for each as --text and --label, or drop target."
        found = f"shape {task.shape}, target {task.target}"
        yield ConfigError("target tags for rows of words, shape tokens", found, fix)
    if task.target == "number" and task.labels is not None:
        yield ConfigError("no labels for a number", ", ".join(task.labels), "Remove labels.")
    elif task.labels is not None:
        if len(set(task.labels)) != len(task.labels) or len(task.labels) < 2:
            found = ", ".join(task.labels) or "none"
            yield ConfigError("two or more different labels", found, "Give each class one name.")
        if task.shape == "choice" and len(task.labels) != len(task.choices):
            found = f"{len(task.labels)} labels, {len(task.choices)} choice columns"
            yield ConfigError("a label for each choice column", found, "Make them equally many.")


def _several_faults(task: TaskSpec) -> Iterator[ConfigError]:
    """Yield what is wrong with the ways to give a row several labels."""
    columns, separator = task.label_columns, task.label_separator
    if (columns or separator) and task.target != "multilabel":
        given = "label_columns" if columns else "label_separator"
        yield ConfigError(f"target multilabel beside {given}", task.target, f"Remove {given}.")
    if columns and separator:
        yield ConfigError("label_columns or label_separator", "both", "Keep one of the two.")
    if columns and (len(columns) < 2 or len(set(columns)) < len(columns)):
        fix = "Name the column of each label once: --label-columns a,b, in a file [a, b]."
        yield ConfigError("two or more different label_columns", ", ".join(columns), fix)
    if columns and task.labels is not None:
        fix = "Remove labels: the columns name them."
        yield ConfigError("label_columns or labels", "both", fix)


def _span_faults(task: TaskSpec) -> Iterator[ConfigError]:
    for number, span in enumerate(task.spans, 1):
        if span.column not in task.text:
            expected = f"span {number}: a text column to look in"
            yield ConfigError(expected, repr(span.column), did_you_mean(span.column, task.text))
        offsets = (span.start is not None) + (span.end is not None)
        words = span.text is not None
        if offsets == 1 or words == (offsets == 2) or (offsets and span.word_index is not None):
            given = [name for name in ("text", "start", "end", "word_index") if getattr(span, name)]
            yield ConfigError(
                f"span {number}: start and end, or text, or text and word_index",
                " and ".join(given) or "none of them",
                "Name the columns of exactly one of these ways.",
            )
    if task.span_use == "vectors" and not task.spans:
        yield ConfigError("spans for span_use vectors", "none", "Add spans or remove span_use.")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        # BaseLoader keeps every scalar as text, so that labels such as `no` and `007` survive.
        values = load_yaml(read_text(path), path, yaml.BaseLoader)
    except (OSError, UnreadableError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        fix = "Check the path given as --task."
        raise ConfigError("a readable task file", f"{path}: {reason}", fix) from None
    if not isinstance(values, dict):
        fix = "The keys are: " + ", ".join(_keys(TaskSpec)) + "."
        raise ConfigError(f"one 'key: value' a line in {path}", repr(values)[:60], fix)
    return values


def _keys(record: type[TaskSpec | Span]) -> tuple[str, ...]:
    return tuple(item.name for item in fields(record))


def _unknown_keys(values: Mapping[str, Any]) -> Iterator[ConfigError]:
    for key in values:
        if key not in _keys(TaskSpec):
            yield ConfigError("a key of a task", repr(key), did_you_mean(key, _keys(TaskSpec)))
    for span in _as_list(values.get("spans", [])):
        for key in span if isinstance(span, dict) else ():
            if key not in _keys(Span):
                yield ConfigError("a key of a span", repr(key), did_you_mean(key, _keys(Span)))


def _as_list(value: Any) -> list[Any]:
    if value in ("", None):
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _with_defaults(values: dict[str, Any], name: str) -> dict[str, Any]:
    lists = {key: _as_list(values[key]) for key in _LISTS if key in values}
    clean = {"name": name, "text": [], **values, **lists}
    if isinstance(clean.get("hub"), str):
        path, _, config = clean["hub"].partition(":")
        clean["hub"] = (path, config or None)
    clean.setdefault("shape", _shape(clean))
    default = next((m for target, m in DEFAULTS.items() if target == clean.get("target")), ())
    named = clean.get("metrics") or default or DEFAULTS["classes"]
    clean["metrics"] = canonical_names(named) if all(isinstance(n, str) for n in named) else named
    return clean


def _build(clean: dict[str, Any]) -> tuple[TaskSpec, list[Any]]:
    """Make the task without its mistyped fields, so that what is left can be checked as well."""
    adapter = TypeAdapter(TaskSpec)
    try:
        return adapter.validate_python(clean), []
    except ValidationError as error:
        wrong = {item["loc"][0] for item in error.errors()}
        rest = {key: value for key, value in clean.items() if key not in wrong}
        return adapter.validate_python(_with_defaults(rest, "")), list(error.errors())


def _shape(columns: Mapping[str, Any]) -> InputShape:
    """Return what a row is, by which of its columns are named."""
    media: tuple[InputShape, ...] = ("image", "audio", "choice")
    named = {"choice": columns.get("choices")}
    found = (shape for shape in media if named.get(shape, columns.get(shape)))
    words = columns.get("target") == "tags"
    return next(found, "tokens" if words else "single" if len(columns["text"]) < 2 else "pair")


def _parse_spans(text: Sequence[str], span: str | Sequence[str] | None) -> tuple[Span, ...]:
    parts = span.split(",") if isinstance(span, str) else list(span or ())
    spans = []
    for position, part in enumerate(parts):
        column = text[min(position, len(text) - 1)] if text else ""
        start, colon, end = part.strip().partition(":")
        spans.append(Span(column, start=start, end=end) if colon else Span(column, text=start))
    return tuple(spans)


def _explain(item: Any) -> ConfigError:
    """Name a mistyped value as the file has it, with what the key accepts."""
    key, *inner = item["loc"]
    place = f"{key}, entry {inner[0] + 1}" if inner and isinstance(inner[0], int) else key
    accepted = TASK_KEYS[key]
    if key == "spans" and len(inner) > 1:
        place, accepted = f"{place}, {inner[1]}", SPAN_KEYS[inner[1]]
    elif key == "spans":
        accepted = f"a span with the keys {', '.join(SPAN_KEYS)}"
    missing = item["type"] == "missing"
    found = "none" if missing else repr(item["input"])[:80]
    expected = f"{place}: {accepted.partition(';')[0]}"
    return ConfigError(expected, found, f"Change {key} in the task file.")
