"""Write measured figures into ``src/headstart/plugins/measured.json``, which cards and pages read.

``python scripts/measured.py costs FIGURES.json`` takes what ``--out`` of
``benchmarks/speed/techniques.py`` wrote; ``python scripts/measured.py study FOLDER --rows WORDS
--command LINE`` takes a study of ``TUNER > full`` and ``full+TECHNIQUE`` whose
baseline is ``full``. Then ``make format`` renews the pages.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from headstart.catalogue import find_entry
from headstart.plugins.measured import FILE
from headstart.study.outcome.read import read_summary
from headstart.study.outcome.summary import Entry

PART = re.compile(r"\(.*\)$")
"""The knobs of a part, without which it has no default."""


def costs(figures: dict[str, Any]) -> dict[str, Any]:
    """Turn a benchmark's figures into the costs of tuners and techniques.

    Sides of other names are left out.
    """
    machine, options = figures["machine"], figures["options"]
    rows = {
        name: {"share": m.get("share"), "step": m.get("ms_step"), "memory": m.get("peak_mb")}
        for side, m in figures["medians"].items()
        if find_entry(name := side.removeprefix("full+"))
    }
    setting = (
        f"one run on {machine['processor']}, {machine['cores']} cores, torch {machine['torch']}, "
        f"{machine['when']}; {machine['precision']}, {options['length']} rows, "
        f"{options['steps']} steps; medians of {options['rounds']} rounds"
    )
    return {"machine": setting, "rows": rows}


def study(folder: Path, rows: str, command: str, name: str) -> dict[str, list[dict[str, str]]]:
    """Turn a study into a sentence for each tuner and technique, of the baseline its score.

    ``rows`` says in words which rows and which model, ``command`` what repeats it, ``name`` what
    the rows are called in a table. Without two seeds there are none.
    """
    found: dict[str, list[dict[str, str]]] = {}
    for group in read_summary(folder).groups:
        for entry in group.entries:
            part = PART.sub("", entry.strategy.removeprefix("full+").removesuffix(" > full"))
            told = _told(entry, " and ".join(group.metrics), rows)
            if told and find_entry(part):
                text, short = told
                finding = {"text": text, "command": command, "short": f"{name} {short}"}
                found.setdefault(part, []).append(finding)
    return found


def _told(entry: Entry, metric: str, rows: str) -> tuple[str, str] | None:
    """Say what came of a strategy, in a sentence and for a table."""
    if entry.comparison is None:
        if entry.scores is None or entry.scores.sd is None:
            return None
        score, seeds = f"{entry.scores.mean:.3f} ± {entry.scores.sd:.3f}", len(entry.runs)
        return f"`{entry.strategy}`: {score} in {metric} ({seeds} seeds; {rows}).", score
    gain, seeds = entry.comparison.difference, entry.comparison.seeds
    if gain.low is None or gain.high is None:
        return None
    text = (
        f"`{entry.strategy}` against `full`: {gain.estimate:+.3f} in {metric} (95 % interval "
        f"{gain.low:+.3f} to {gain.high:+.3f}; {seeds} seeds, paired; {rows})."
    )
    return text, f"{gain.estimate:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"


def main() -> None:
    """Read the command line and write the file."""
    options = argparse.ArgumentParser(description=__doc__)
    kinds = options.add_subparsers(dest="kind", required=True)
    kinds.add_parser("costs").add_argument("source", type=Path)
    of_study = kinds.add_parser("study")
    of_study.add_argument("source", type=Path)
    of_study.add_argument("--rows", required=True, help="Rows and model in words.")
    of_study.add_argument("--name", required=True, help="Of the rows, for a table.")
    of_study.add_argument("--command", required=True, help="What measures it again.")
    for kind in kinds.choices.values():
        kind.add_argument("--into", type=Path, default=FILE, help="The file that is written.")
    asked = options.parse_args()
    held = json.loads(asked.into.read_text(encoding="utf-8"))
    if asked.kind == "costs":
        held["costs"] = costs(json.loads(asked.source.read_text(encoding="utf-8")))
    else:
        measured = study(asked.source, asked.rows, asked.command, asked.name)
        for part, found in measured.items():
            others = [f for f in held["studies"].get(part, []) if f["command"] != asked.command]
            held["studies"][part] = [*others, *found]
    asked.into.write_text(json.dumps(held, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
