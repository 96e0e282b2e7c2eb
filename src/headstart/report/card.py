"""A section for a model card: the evidence of a study, in Markdown, kept up to date in a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from headstart.errors import ConfigError, RunError, did_you_mean
from headstart.files.writing import write_text
from headstart.report.answer import answer
from headstart.report.read import Evidence
from headstart.results import RunResult
from headstart.study.formats import markdown
from headstart.study.outcome import tables
from headstart.study.outcome.tables import short_name
from headstart.untrusted import markdown as markdown_text

BEGIN, END = "<!-- headstart study: begin -->", "<!-- headstart study: end -->"
HEAD = (
    "strategy", ">seeds", ">mean ± sd", ">worst", ">failed", ">difference [95 %]", ">p (Holm)",
)  # fmt: skip
"""Columns: what somebody who has the model at hand asks; the table has more."""


def section(evidence: Evidence, model: RunResult | None = None) -> str:
    """Write what a study has found, for the card of a model if one is given.

    Markdown between two marks, with a line break at its end. Raises ``ConfigError`` if the model
    was trained by a strategy that the study does not know.
    """
    summary = evidence.summary
    found = answer(summary)
    about = [] if model is None else list(_about(evidence, model))
    overall = tables.OVERALL_HEAD if summary.overall and summary.overall.ranks else ()
    shown = [name for name in tables.HEAD if name in HEAD or name in overall]
    told = [note for note in tables.notes(summary) if f"{note}." not in found.cautions]
    notes = [*found.cautions, *tables.legend(shown), *told]
    lines = [
        BEGIN, "## Comparison of strategies", "",
        f"**{markdown_text(found.best)}** {markdown_text(found.sure)}", "",
        *(line for text in about for line in (markdown_text(text), "")),
        markdown_text(_size(evidence)), "",
        *markdown(summary, HEAD),
        *(f"- {markdown_text(note)}" for note in notes),
        END,
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def put_into(path: Path, text: str) -> bool:
    """Write a section into a file, made if need be: in place of the one there, else at its end.

    Returns whether one stood there. Everything else in the file stays as it is, byte by byte.
    Raises ``RunError`` if the file cannot be read or written, or holds one mark without the other.
    """
    try:
        old = path.read_bytes().decode() if path.exists() else ""
        line_break = "\r\n" if "\r\n" in old else "\n"
        new, replaced = _merged(path, old, text.replace("\n", line_break), line_break)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, new)
    except UnicodeDecodeError:
        fix = "Save it as UTF-8, or write the section to another file."
        raise RunError("a text in UTF-8", f"{path} in another encoding", fix) from None
    except OSError as error:
        raise RunError(
            "a file to write the section to", f"{path}: {error.strerror or error}",
            "Name another one.",
        ) from None  # fmt: skip
    return replaced


def _merged(path: Path, old: str, text: str, line_break: str) -> tuple[str, bool]:
    # A mark stands alone on its line, so that no name in a table is taken for one.
    begins, ends = (
        [m.start() for m in re.finditer(rf"^{re.escape(mark)}(?=\r?$)", old, re.MULTILINE)]
        for mark in (BEGIN, END)
    )
    if not begins and not ends:
        gap = "" if not old else line_break if old.endswith(line_break) else 2 * line_break
        return old + gap + text, False
    if (len(begins), len(ends)) != (1, 1) or ends < begins:
        raise RunError(
            f"one section between {BEGIN} and {END}, or none",
            f"{path} with {len(begins)} and {len(ends)} of these marks",
            "Remove what is left of the old section by hand.",
        )
    after = old[ends[0] + len(END) :].removeprefix(line_break)
    return old[: begins[0]] + text + after, True


def _about(evidence: Evidence, model: RunResult) -> Iterator[str]:
    runs = [run for run in evidence.runs if run.axes["strategy"] == model.strategy]
    if not runs:
        known = list(dict.fromkeys(short_name(run.axes["strategy"]) for run in evidence.runs))
        raise ConfigError(
            "a model that was trained by a strategy of the study", repr(model.strategy),
            did_you_mean(model.strategy, known),
        )  # fmt: skip
    name = short_name(model.strategy)
    yield f"This model is one run of {name}, seed {model.seed}; the table is about all its runs."
    rows = {run.result.data.get("train_fingerprint") for run in runs}
    if model.data.get("train_fingerprint") not in rows:
        yield "It was trained on other rows than the runs of the study."
    if model.backbone.get("source") not in {run.result.backbone.get("source") for run in runs}:
        yield "It was trained from another checkpoint than the runs of the study."


def _size(evidence: Evidence) -> str:
    summary = evidence.summary
    counts = sorted({len(e.runs) for group in summary.groups for e in group.entries})
    seeds = " to ".join(map(str, dict.fromkeys((*counts[:1], *counts[-1:])))) or "none"
    # A folder of this machine means nothing to a reader elsewhere.
    paths = [Path(group.model) for group in summary.groups]
    names = (path.name if path.is_absolute() else str(path) for path in paths)
    models = ", ".join(dict.fromkeys(names))
    return (
        f"Seeds of each strategy: {seeds}. Baseline: {short_name(summary.baseline)}. "
        f"Runs: {summary.finished:,} finished, {len(summary.failures):,} failed"
        f"{f' of {summary.planned:,}' if summary.planned else ''}. "
        f"{f'Checkpoint: {models}. ' if models else ''}Every strategy has the same seeds, and so "
        "the same rows in the same order."
    )
