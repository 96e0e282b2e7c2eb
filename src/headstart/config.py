"""Every setting of a run: one frozen, validated record behind the command line and the files.

A field here is an option of ``headstart fit``, a key of ``run.yaml`` and an argument of
``headstart.fit``; its description is the help text of all three.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headstart.contradictions import contradictions
from headstart.errors import ConfigError, HeadstartError, did_you_mean, raise_all
from headstart.files.writing import write_text

VALIDATION_SHARE = 0.2
MOST_SHOWN = 80
"""Characters of an unfit value that a message shows."""
_BUDGET = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
HeadKind = Literal["native", "linear", "mlp", "span"]
Pooling = Literal["native", "first", "mean", "attention"]


def _option(panel: str, text: str, default: Any = None, **rules: Any) -> Any:
    extra: dict[str, Any] = {"panel": panel}
    return Field(default=default, description=text, json_schema_extra=extra, **rules)


class FitConfig(BaseModel):
    """The settings of one run. ``None`` means: decided by the preset, the model or the data."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        protected_namespaces=(),
        allow_inf_nan=False,
        defer_build=True,  # listings and --help validate nothing
    )

    model: str = _option("Model", "Folder or hub name of the pretrained encoder.", "")
    out: Path | None = _option("Output", "Folder for the run; created. Default: runs/<name>.")

    train: str | None = _option(
        "Data", "Training rows: csv, tsv, jsonl, parquet or arrow file, saved data set, hub name."
    )
    validation: str | None = _option(
        "Data", "Validation rows; else a share of --train is held out."
    )
    task: str | None = _option(
        "Data", "A built-in task (see `headstart tasks`) or a task YAML file."
    )
    data: Path | None = _option(
        "Data", "Folder with the task's split files; else the hub is asked."
    )
    text: tuple[str, ...] = _option("Data", "Text column; give it twice for pairs of texts.", ())
    image: str | None = _option("Data", "Column with images or their paths, in place of --text.")
    audio: str | None = _option("Data", "Column with sound or its paths, in place of --text.")
    label: str | None = _option("Data", "Label column. Default: label.")
    choices: tuple[str, ...] = _option(
        "Data", "Columns with the candidates (multiple choice): a,b, or give it for each.", ()
    )
    span: str | None = _option(
        "Data", "Column with the target words to mark in the text, or START:END offset columns."
    )
    target: Literal["auto", "classes", "multilabel", "number", "tags"] = _option(
        "Data",
        "What the label is: classes, multilabel (several labels a row, or none), a number to "
        "predict, or tags (one for each word: entities, parts of speech).",
        "auto",
    )
    label_columns: tuple[str, ...] = _option(
        "Data",
        "Columns of 0 and 1, one a label (several labels a row): a,b,c, or give it for each.",
        (),
    )
    label_separator: str | None = _option(
        "Data", "What stands between the labels of a row in --label, where they are joined names.",
        min_length=1,
    )  # fmt: skip
    metrics: tuple[str, ...] = _option(
        "Data",
        "A metric, such as accuracy, macro_f1, roc_auc, log_loss or rmse; of several, with commas "
        "between or repeated, the score is the mean.",
        (),
    )
    validation_share: float | None = _option(
        "Data", "Share of the training rows held out where there are no validation rows, or by "
        f"--selection carve. Default: {VALIDATION_SHARE}.", gt=0, lt=1,
    )  # fmt: skip
    train_rows: int | None = _option(
        "Data", "Use only so many training rows, drawn by seed, stratified.", ge=2
    )
    validation_rows: int | None = _option(
        "Data", "Use only so many validation rows: the same ones whatever the seed.", ge=2
    )
    encoding: str | None = _option(
        "Data", "Encoding of csv, tsv and json files: cp1252, utf-16 … Default: UTF-8."
    )
    empty_text: Literal["error", "drop", "keep"] = _option(
        "Data", "Rows without text: an error, left out (drop), or read as empty (keep).", "error"
    )
    missing_label: Literal["error", "drop"] = _option(
        "Data", "Rows without a label: an error, or left out (drop).", "error"
    )
    augment: bool = _option(
        "Data",
        "Pictures: random crops and mirrored ones while the backbone trains; never to evaluate.",
        True,
    )
    max_length: int | None = _option(
        "Data", "Longest input in tokens; for longer texts see --long-texts.", ge=4
    )
    max_seconds: float | None = _option(
        "Data",
        "Longest sound in seconds; longer ones are cut. Default: the model's, else 30.",
        gt=0,
    )
    long_texts: Literal["cut", "windows"] = _option(
        "Data",
        "Texts over the largest length: cut, or read in overlapping windows whose logits are "
        "averaged.",
        "cut",
    )
    window_overlap: int | None = _option(
        "Data", "Tokens that a window shares with the one before. Default: a quarter.", ge=0
    )

    strategy: str = _option(
        "Strategy",
        "Strategy line or alias (`headstart strategies`).",
        "default",
    )
    budget: str | None = _option(
        "Strategy",
        "Wall-clock time of the run: fine-tuning is shortened to fit; 90s, 20m, 1h30m.",
    )
    preset: str = _option("Strategy", "Set of defaults: default or paper.", "default")
    epochs: float | None = _option(
        "Strategy", "Epochs of fine-tuning, the last stage that takes steps.", gt=0
    )
    total_epochs: float | None = _option(
        "Strategy", "Epochs of all stages together: the equal-budget form.", gt=0
    )
    guard: bool = _option(
        "Strategy",
        "Never hand on a head that has not learned: try once more, then fine-tune plainly.",
        True,
    )
    head_type: HeadKind | None = _option(
        "Strategy",
        "native: the model class's own. linear, mlp (2048 wide, the paper's), span (mlp that also "
        "reads target spans): on one vector, need headstart to load.",
    )
    pooling: Pooling | None = _option(
        "Strategy",
        "The vector that a linear, mlp or span head reads: first (token; the default), mean (of "
        "all tokens), attention (mean weighted by a trained query). native: a native head's own.",
    )
    head_init: Literal["normal", "zero", "labels"] = _option(
        "Strategy",
        "Where the head's last map starts: normal (drawn), zero, or labels (the model's vectors "
        "of the label names).",
        "normal",
    )
    head: str | None = _option(
        "Strategy", "Start from this head: a head folder, a run, or a checkpoint with a head."
    )
    head_part: Literal["all", "hidden"] = _option(
        "Strategy",
        "Part of --head to start from: all, or hidden, which leaves out the last map and so fits "
        "other labels.",
        "all",
    )
    ignore_backbone_mismatch: bool = _option(
        "Strategy", "Use --head although it was trained on another backbone.", False
    )

    lr: float | None = _option("Optimization", "Learning rate of fine-tuning.", gt=0)
    head_lr: float | None = _option("Optimization", "The head's rate in fine-tuning.", gt=0)
    batch_size: int | None = _option(
        "Optimization", "Rows per optimizer step, over all devices.", ge=1
    )
    micro_batch_size: int | None = _option(
        "Optimization", "Rows at once on a device; a step's gradient is accumulated.", ge=1
    )
    gradient_checkpointing: bool = _option(
        "Optimization",
        "Compute activations twice instead of keeping them: less memory, slower.",
        False,
    )
    offload_optimizer: bool = _option(
        "Optimization",
        "Keep AdamW's moments in the processor's memory instead of the GPU's, and update there.",
        False,
    )
    weight_decay: float | None = _option("Optimization", "AdamW's weight decay.", ge=0)
    clip: float | None = _option("Optimization", "Largest gradient norm; 0 turns it off.", ge=0)
    warmup: float | None = _option("Optimization", "Share of steps with rising rate.", ge=0, lt=1)
    dropout: float | None = _option("Optimization", "Override every dropout rate.", ge=0, lt=1)

    eval_every: int | None = _option(
        "Evaluation",
        "Optimizer steps between evaluations. Default: an epoch, more with many validation rows or "
        "epochs of a few steps.",
        ge=1,
    )
    select: Literal["auto", "last", "best"] = _option(
        "Evaluation",
        "State that is saved: the last or the best of the last stage; auto: the last, unless an "
        "earlier stage's model is better on the held-out rows by more than noise.",
        "auto",
    )
    selection: Literal["validation", "carve"] = _option(
        "Evaluation", "Rows that select: the validation rows, or some carved from training.",
        "validation",
    )  # fmt: skip
    tune_threshold: bool = _option(
        "Evaluation",
        "Of several labels a row: choose the probability from which a label is predicted by the "
        "score on held-out rows, in place of 0.5, and save it with the model.",
        False,
    )
    calibrate: bool = _option(
        "Evaluation",
        "Fit a temperature on held-out rows and save the model with its logits divided by it.",
        False,
    )

    seed: int = _option("Machine", "Seed of head, data order, dropout and sampling.", 0, ge=0)
    device: Literal["auto", "cpu", "cuda", "mps"] = _option("Machine", "Where to compute.", "auto")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = _option(
        "Machine", "Number format of matrix products; auto takes bf16 where it is fast.", "auto"
    )
    threads: int | None = _option(
        "Machine", "CPU threads. Default: OMP_NUM_THREADS, else torch's choice.", ge=1
    )
    trust_remote_code: bool = _option(
        "Model",
        "Run code that comes with the model. A settings file may ask for it; it runs only if the "
        "command line says so too.",
        False,
    )

    checkpoint_minutes: float = _option(
        "Output", "Minutes between checkpoints for --resume.", 5.0, gt=0
    )
    checkpoint_steps: int | None = _option("Output", "The same, in optimizer steps.", ge=1)
    resume: bool = _option("Output", "Go on with the interrupted run in --out.", False)
    overwrite: bool = _option("Output", "Replace the run in --out.", False)

    @classmethod
    def build(cls, values: Mapping[str, Any]) -> Self:
        """Validate settings, reporting all faults at once.

        In a name ``-`` and ``_`` mean the same; the value ``None`` is the default. Raises
        ``HeadstartError`` if a name is unknown or a value does not fit.
        """
        named = {key.replace("-", "_"): value for key, value in values.items()}
        given = {k: v for k, v in named.items() if v is not None}
        clean: dict[str, Any] = {k: str(v) if isinstance(v, Path) else v for k, v in given.items()}
        for name in ("label", "span", "image", "audio"):
            clean |= {name: _column(clean[name])} if name in clean else {}
        for name in ("text", "choices", "metrics", "label_columns"):
            value = _column(clean.get(name))
            if isinstance(value, str):
                clean[name] = tuple(part.strip() for part in value.split(","))
            elif isinstance(value, list | tuple):
                clean[name] = _names(name, value)
        faults: list[HeadstartError] = [
            ConfigError("the name of a setting", repr(key), did_you_mean(key, cls.model_fields))
            for key in named
            if key not in cls.model_fields
        ]
        try:
            config = cls(**{k: v for k, v in clean.items() if k in cls.model_fields})
        except ValidationError as error:
            faults += [_explain(item, cls.model_fields) for item in error.errors()]
            config = cls()
        raise_all([*faults, *(() if faults else contradictions(config))])
        return config

    @property
    def budget_seconds(self) -> int:
        """The budget in seconds; 0 where there is none or it cannot be read."""
        read = _BUDGET.fullmatch((self.budget or "").replace(" ", ""))
        hours, minutes, seconds = (int(part or 0) for part in read.groups()) if read else (0, 0, 0)
        return 3600 * hours + 60 * minutes + seconds

    @property
    def takes_whole_head(self) -> bool:
        """Whether the run starts from a given head as it is, last map and all."""
        return self.head is not None and self.head_part == "all"

    @property
    def held_out_share(self) -> float | None:
        """Share of the training rows that is set apart; ``None`` where none are."""
        without = self.train is not None and self.validation is None
        needed = without or self.selection == "carve"
        return (self.validation_share or VALIDATION_SHARE) if needed else None

    def plain(self) -> dict[str, Any]:
        """Return the settings as plain data for a YAML or JSON file, in the order of the fields."""
        values = self.model_dump(mode="json")
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def write_settings(config: FitConfig, path: Path) -> None:
    """Write settings so that ``read_settings`` gives them back."""
    write_text(path, yaml.safe_dump(config.plain(), sort_keys=False))


def _names(name: str, values: Sequence[Any]) -> tuple[Any, ...]:
    """Return the names that a setting of several was given, as one of them or each by itself.

    A single one with commas is split where one alone would make no sense, or no name has a comma.
    """
    if name != "text" and len(values) == 1 and isinstance(values[0], str):
        return tuple(part.strip() for part in values[0].split(","))
    return tuple(map(_column, values))


def _column(name: Any) -> Any:
    """Return a column's name as text: in a file or a data frame it may be a whole number."""
    return str(name) if isinstance(name, Integral) and not isinstance(name, bool) else name


def _explain(item: Any, fields: Mapping[str, Any]) -> ConfigError:
    name = ".".join(str(part) for part in item["loc"])
    field = fields.get(str(item["loc"][0]))
    wanted = item["msg"].lower().replace("a valid tuple", "a name or a list of names")
    if wanted.startswith("input should be "):
        expected = f"{name} to be {wanted.removeprefix('input should be ')}"
    else:
        expected = f"{name} to fit: {wanted}"
    about = f": {field.description}" if field else "."
    # What is no setting at all, such as a table given in Python, is not shown whole.
    found = shown if len(shown := repr(item["input"])) <= MOST_SHOWN else f"{shown[:MOST_SHOWN]}…"
    return ConfigError(expected, found, f"Change --{name.replace('_', '-')}{about}")
