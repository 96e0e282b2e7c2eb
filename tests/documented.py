"""The code blocks of the documentation, and a folder in which they can be carried out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import headstart as hs
import tiny
import tiny_analyses
import tiny_pictures
import tiny_records
import tiny_tags
from headstart.cli.shared.app import COMMANDS, find_command
from headstart.tasks.builtin import get_task
from headstart.tasks.spec import TaskSpec
from tiny_runs import frame

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
BLOCK = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
EXAMPLE = re.compile(r"\[cyan\]\$ (.*?)\[/cyan\]", re.DOTALL)
MODELS = ("roberta-base", "model", "minilm", "MiniLM", "MODEL", "all-MiniLM-L6-v2", "DIR-or-name")
CLASSIFIERS = ("my-classifier", "roberta-large-mnli")
TABLES = ("train.csv", "dev.csv", "test.csv", "new.csv", "more.csv")
TASKS = ("rte", "cola", "cb", "mrpc", "qnli", "mnli")
RUNS: dict[str, dict[str, Any]] = {
    "x": {},
    "first": {},
    "soup": {},
    "films": {"text": "text"},
    "mnli": {"head_type": "mlp", "pooling": "attention"},
    "tickets": {"label": "labels", "text": "text", "head_type": "native"},
    "notes": {"label": "entities", "text": "text"},
    "shapes": {"text": (), "image": "image"},
}
STUDIES = ("mine", "films", "x", "rte", "shapes", "tones", "tickets", "notes")
SHORT = "head(steps=2) > full(steps=2)"
RUN_FILE = {"model": "roberta-base", "train": "train.csv", "text": "sentence", "epochs": 1}


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        language: What stands behind the fence.
        text: The lines between the fences.
    """

    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The commands, each on one line."""
        lines = self.text.replace("\\\n", " ").splitlines()
        own = lines if self.language == "bash" else [x for x in lines if x.startswith("$ ")]
        return [line.removeprefix("$ ") for line in own]


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page that have a language other than plain text."""
    found = (Block(m[2], m[3]) for m in BLOCK.finditer(page.read_text(encoding="utf-8")))
    return [block for block in found if block.language != "text"]


def walk() -> Iterator[tuple[str, Any]]:
    """Yield every command of the command line by its words."""
    for name in COMMANDS:
        command = find_command(name)
        yield name, command
        for word in command.list_commands(None) if hasattr(command, "list_commands") else ():
            yield f"{name} {word}", command.get_command(None, word)


def help_examples() -> list[str]:
    """Return the examples of all help pages."""
    from headstart.cli.shared.app import app

    epilogs = [app.info.epilog, *(command.epilog for _, command in walk())]
    found = [m.replace(r"\[", "[") for text in epilogs if text for m in EXAMPLE.findall(text)]
    return list(dict.fromkeys(" ".join(command.split()) for command in found))


def split(command: str, variables: dict[str, str]) -> list[str]:
    """Return the words of a command line, comments left out and variables put in."""
    for name, value in variables.items():
        command = command.replace(f"${name}", value)
    return shlex.split(command, comments=True)


def build_world(folder: Path) -> None:
    """Write the models, tables, studies and the run ``x`` that the documentation names.

    Args:
        folder: An empty folder.
    """
    tiny.save_pretrained("bert", folder / MODELS[0])
    tiny_pictures.save(folder / "tiny-vit")
    for name in MODELS[1:]:
        (folder / name).symlink_to(MODELS[0])
    table = frame(520).assign(text=lambda t: t["sentence"])
    for name in TABLES:
        rows = table if name == "train.csv" else table[:40]
        rows.to_csv(folder / name, index=False)
    (folder / "texts.txt").write_text("\n".join(table["sentence"][:5]) + "\n")
    reviews = table[:40].rename(columns={"sentence": "body", "label": "stars"})
    reviews.to_json(folder / "reviews.jsonl", orient="records", lines=True)
    for name in ("data", "data/film", "rows", "films"):
        (folder / name).mkdir()
        table.to_csv(folder / name / "train.csv", index=False)
        table[:40].to_csv(folder / name / "validation.csv", index=False)
    for name in TASKS:
        _write_task(folder / "tasks" / name, get_task(name))
        (folder / name).symlink_to(Path("tasks", name))
    for name in ("DIR", "glue"):
        (folder / name).symlink_to("tasks")
    add_run(folder, "x")
    for name in CLASSIFIERS:
        (folder / name).symlink_to(Path("runs", "x", "model"))
    _write_studies(folder)


def _write_task(folder: Path, task: TaskSpec) -> None:
    folder.mkdir(parents=True)
    for place, name in enumerate(task.splits):
        n = 60 if place else (240 if task.name == "cb" else 520)  # CB has 250
        rows = {
            column: frame(n, seed)["sentence"] for seed, column in enumerate(task.columns, place)
        }
        labels = [(task.labels or ())[i % len(task.labels or ())] for i in range(n)]
        pd.DataFrame(rows).assign(**{task.label: labels}).to_json(
            folder / f"{name}.jsonl", orient="records", lines=True
        )


def add_run(folder: Path, name: str) -> None:
    """Carry out a run that the documentation names, if it is not there yet.

    Args:
        folder: The world.
        name: One of ``RUNS``.
    """
    if (folder / "runs" / name).exists():
        return
    own_rows = {"tickets": _tickets, "notes": _notes, "shapes": _shapes}
    train = own_rows[name]() if name in own_rows else str(folder / "dev.csv")
    model = MODELS[0] if name != "shapes" else "tiny-vit"
    hs.fit(
        model=str(folder / model), train=train,
        strategy=SHORT, guard=False, device="cpu", precision="fp32",
        out=folder / "runs" / name, **{"text": "sentence", **RUNS[name]},
    )  # fmt: skip


def _shapes() -> pd.DataFrame:
    """Return rows with the labels of docs/images.md."""
    rows = tiny_pictures.frame(6)
    return rows.assign(label=["ellipse", "rectangle"] * (len(rows) // 2))


def _tickets() -> pd.DataFrame:
    """Return rows with the labels of docs/several-labels.md."""
    names = ["billing", "damage", "delivery", "thanks"]
    labels = [names[i % 4 :][: i % 3] for i in range(40)]
    return pd.DataFrame({"text": frame(40)["sentence"], "labels": labels})


def _notes() -> pd.DataFrame:
    """Return rows with the entities of docs/tags.md."""
    table, names = tiny_tags.with_spans(), {"thing": "person", "word": "place"}
    spans = [[{**s, "label": names[s["label"]]} for s in row] for row in table["entities"]]
    return table.assign(entities=spans)


def _write_studies(folder: Path) -> None:
    import json

    lines = ("full", "head > full", SHORT)
    found = tiny_records.evidence(tiny_records.noisy({}), lines, 3)
    records = [tiny_records.record(run.axes, 0.7) for run in found.planned]
    for name in STUDIES:
        tiny_records.write(found, records, folder / "studies" / name)
    (folder / "studies" / "change").mkdir()
    values = tiny_analyses.whole("change", lines).values
    (folder / "studies" / "change" / "change.json").write_text(json.dumps(values))
