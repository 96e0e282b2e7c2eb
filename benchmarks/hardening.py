"""Crashes in the wrong moment: kills, failing system calls, vanishing folders, rival processes.

    python benchmarks/hardening.py --out DIR                # all parts, an hour of one core
    python benchmarks/hardening.py --out DIR --parts fit,study --kills 10 --studies 5

Each part counts what it tried and what did not end as it should; what an uninterrupted command
leaves is the measure. Kills are SIGKILL at random moments. A failing call needs Linux and ``cc``.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

from _crash import (  # noqa: E402
    FAULTS,
    PATIENCE,
    Place,
    around,
    inside,
    run_digest,
    start,
    study_digest,
    timed,
    whole_run,
    with_faults,
)

ERRORS = {"disk full": errno.ENOSPC, "no permission": errno.EACCES, "read-only": errno.EROFS}
LEFT = ["head", "log.txt", "model", "result.json", "settings.yaml"]


class Campaign:
    """Everything that is tried, with its counts; ``seed`` chooses the moments."""

    def __init__(self, out: Path, seed: int) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.place, self.log, self.chance = (
            Place(out.resolve()),
            out / "log.txt",
            random.Random(seed),  # noqa: S311
        )
        self.faults: list[str] = []
        self.counts: dict[str, Counter[str]] = {}
        self.old, self.new = (self.place.folder / name for name in ("old", "new"))
        for seed_, run in enumerate((self.old, self.new)):
            shutil.rmtree(run, ignore_errors=True)
            with timed() as found:
                code, text = start(self.log, *self.place.words(run, seed_)).end()
            if code:
                raise SystemExit(text)
        self.seconds = found[0]
        self.digests = {run_digest(self.old): "old", run_digest(self.new): "new"}

    def count(self, part: str, what: str, fault: str = "", text: str = "") -> None:
        """Count one thing that was tried, and keep what was wrong with it."""
        self.counts.setdefault(part, Counter())[what] += 1
        if fault:
            self.counts[part]["FAULTS"] += 1
            self.faults.append(f"{part}: {what}: {fault}")
            print(self.faults[-1], text[-1500:], flush=True)

    def fresh(self, name: str, *, old: bool) -> Path:
        """Return the place of a run, an older run in it if asked for."""
        out = self.place.folder / name / "run"
        shutil.rmtree(out.parent, ignore_errors=True)
        out.parent.mkdir()
        if old:
            shutil.copytree(self.old, out)
        return out

    def words(self, out: Path, *, old: bool) -> list[object]:
        """Return the command for a run whose place may be taken."""
        return [*self.place.words(out), *(["--overwrite"] if old else [])]

    def next_words(self, out: Path, *, old: bool) -> list[object]:
        """Return what the user gives after a crash: the run goes on if there is one."""
        begun = (out.with_name("run.partial") / "settings.yaml").exists()
        return ["fit", "--resume", "--out", out] if begun else self.words(out, old=old)

    def least(self, out: Path, *, old: bool) -> str:
        """Say what is wrong where less than a whole run is there; nothing if all is well."""
        work = out.with_name("run.partial")
        found = [self.digests.get(whole_run(p) or "") for p in (out, work, work / ".replaced")]
        return "" if any(found) or not old else f"no whole run among {around(out)}"

    def ended(self, out: Path, code: int | None, text: str) -> str:
        """Say what is wrong with the end of a run; nothing if it is that of the uninterrupted."""
        if code is None:
            return "hangs"
        if code and "nothing left to do" not in text:
            return f"exit code {code}"
        if self.digests.get(whole_run(out) or "") != "new":
            return "other bits than the uninterrupted run"
        if around(out) != ["run"] or inside(out) != LEFT:
            return f"left over: {around(out)}, {inside(out)}"
        return ""

    def fit(self, kills: int) -> None:
        """Kill runs at random moments, and go on with them."""
        done = 0
        while done < kills:
            old = self.chance.random() < 0.5
            out, killed = self.fresh("killed", old=old), 0
            words = self.words(out, old=old)
            while done < kills and killed < 3:
                life = start(self.log, *words)
                if not life.kill_after(self.chance.uniform(0, 1.2 * self.seconds)):
                    break
                done, killed = done + 1, killed + 1
                self.count("fit", "kills", self.least(out, old=old))
                words = self.next_words(out, old=old)
            if whole_run(out) is None or self.digests[run_digest(out)] == "old":
                code, text = start(self.log, *self.next_words(out, old=old)).end()
            else:
                code, text = start(self.log, "evaluate", out, "--data",
                                   self.place.folder / "validation.csv").end()  # fmt: skip
            self.count("fit", "runs", self.ended(out, code, text), text)

    def study(self, studies: int) -> None:
        """Kill studies three times each, and let them end."""
        whole = self.place.folder / "study"
        shutil.rmtree(whole, ignore_errors=True)
        with timed() as seconds:
            code, text = start(self.log, study=self.place.study(whole)).end()
        self.count("study", "uninterrupted", "" if code == 0 else f"exit code {code}", text)
        expected = study_digest(whole)
        for _ in range(studies):
            out = self.place.folder / "killed study"
            shutil.rmtree(out, ignore_errors=True)
            for _ in range(3):
                life = start(self.log, study=self.place.study(out))
                # Early, so that one run is met again and again, or anywhere.
                most = self.chance.choice((0.4, 1.1)) * seconds[0]
                self.count("study", "kills" if life.kill_after(self.chance.uniform(0, most))
                           else "ended before the kill")  # fmt: skip
            code, text = start(self.log, study=self.place.study(out)).end()
            wrong = "" if code == 0 else f"exit code {code}"
            if not wrong and study_digest(out) != expected:
                wrong = f"another end: {study_digest(out).keys() ^ expected.keys()}"
            self.count("study", "studies", wrong, text)

    def calls(self, stride: int) -> None:
        """Let each system call that writes fail once, and end the process at each once."""
        if FAULTS not in os.environ:
            print("calls: left out, since _faults.c was not compiled here")
            return
        out = self.fresh("calls", old=True)
        start(self.log, *self.words(out, old=True), arm=(out, 0, -1)).end()
        total = int(self.log.with_suffix(".calls").read_text())
        self.counts.setdefault("calls", Counter())["calls in a run"] = total
        for number in range(1 + self.chance.randrange(stride), total + 1, stride):
            for kind, error in (*ERRORS.items(), ("killed", 0)):
                self._one_call(number, kind, error)

    def _one_call(self, number: int, kind: str, error: int) -> None:
        out = self.fresh("calls", old=True)
        code, text = start(self.log, *self.words(out, old=True), arm=(out, number, error)).end()
        told = code in (0, 2) and "Traceback" not in text and "fault of headstart" not in text
        wrong = self.least(out, old=True)
        if error and not (told or wrong):
            wrong = f"exit code {code}, no clear error"
        if not wrong:
            code, text_after = start(self.log, *self.next_words(out, old=True)).end()
            if "another run there" in text_after:  # the new run is there already
                code = 0
            if code == 0 and self.digests.get(whole_run(out) or "") == "old":
                code, text_after = start(self.log, *self.words(out, old=True)).end()
            wrong = self.ended(out, code, text_after)
            text += text_after
        self.count("calls", kind, wrong and f"call {number}: {wrong}", text)

    def vanish(self, times: int) -> None:
        """Take a study's folder away for a moment, and bring it back."""
        whole = self.place.folder / "study"
        if not whole.exists():
            start(self.log, study=self.place.study(whole)).end()
        for _ in range(times):
            out = self.place.folder / "vanishing"
            away = out.with_name("away")
            shutil.rmtree(out, ignore_errors=True)
            shutil.rmtree(away, ignore_errors=True)
            life = start(self.log, study=self.place.study(out))
            while not list(out.glob("locks/*.json")) and life.process.is_alive():
                time.sleep(0.02)
            time.sleep(self.chance.uniform(0, 1))
            out.rename(away)
            began = time.monotonic()
            while life.process.is_alive() and time.monotonic() - began < PATIENCE:
                if "Waiting for it" in self.log.read_text():
                    break
                time.sleep(0.1)
            wrong = "made anew while it was away" if out.exists() else ""
            if not wrong:
                away.rename(out)
            code, text = life.end()
            what = "went on by itself" if code == 0 else "told, and gone on with by hand"
            if code:
                wrong = wrong or ("" if code == 2 and "Bring it back" in text else f"code {code}")
                code, text = start(self.log, study=self.place.study(out)).end()
            same = code == 0 and study_digest(out) == study_digest(whole)
            self.count("vanish", what, wrong or ("" if same else f"code {code}, another end"), text)

    def together(self, times: int) -> None:
        """Start two commands with one --out at nearly the same moment."""
        for _ in range(times):
            old = self.chance.random() < 0.5
            out = self.fresh("together", old=old)
            lives = []
            for number in range(2):
                log = self.log.with_name(f"log{number}.txt")
                lives.append(start(log, *self.words(out, old=old)))
                time.sleep(self.chance.uniform(0, 0.5) ** 2)
            ends = [life.end() for life in lives]
            codes = sorted(str(code) for code, _ in ends)
            text = "\n".join(text for _, text in ends)
            # With --overwrite the second may come when the first is done.
            fine = codes == ["0", "2"] or (old and codes == ["0", "0"])
            clear = "Traceback" not in text and "fault of headstart" not in text
            wrong = "" if fine and clear else f"exit codes {codes}"
            self.count("together", "pairs", wrong or self.ended(out, 0, ""), text)

    def clock(self, times: int) -> None:
        """Let the clock go back by an hour while a run, and a study, goes on."""
        if FAULTS not in os.environ:
            print("clock: left out, since _faults.c was not compiled here")
            return
        whole = self.place.folder / "study"
        for _ in range(times):
            at = self.chance.uniform(0.05, self.seconds)
            out = self.fresh("clock", old=False)
            code, text = start(self.log, *self.words(out, old=False), clock=at).end()
            self.count("clock", "runs", self.ended(out, code, text), text)
            record = json.loads((out / "result.json").read_text(encoding="utf-8"))
            if record["seconds"] < 0 or any(s["seconds"] < 0 for s in record["stages"]):
                self.count("clock", "times", "a negative time")
            out = out.with_name("study")
            code, text = start(self.log, study=self.place.study(out), clock=at).end()
            same = code == 0 and (not whole.exists() or study_digest(out) == study_digest(whole))
            self.count("clock", "studies", "" if same else f"code {code}, another end", text)

    def launch(self, times: int) -> None:
        """Kill one of two processes that train together; the other must end."""
        for number in range(times):
            out = self.fresh("launch", old=True)
            command = [
                sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu",
                "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no",
                "--dynamo_backend", "no", "--main_process_port", "0", "-m", "headstart",
                *map(str, self.place.words(out, strategy="full(steps=100000)")), "--overwrite",
            ]  # fmt: skip
            env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
            with self.log.open("w") as log:
                group = subprocess.Popen(command, stdout=log, stderr=log, env=env)  # noqa: S603
            working = out.with_name("run.partial") / "checkpoints" / "latest.json"
            began = time.monotonic()
            while not working.exists() and time.monotonic() - began < PATIENCE:
                if group.poll() is not None:
                    break
                time.sleep(0.2)
            started = psutil.Process(group.pid).children() if group.poll() is None else []
            ranks = [process for process in started if "headstart" in process.cmdline()]
            ranks.sort(key=lambda p: p.pid)
            if len(ranks) == 2:
                ranks[number % 2].send_signal(signal.SIGKILL)
            began = time.monotonic()
            try:
                code = group.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                code = None
            seconds = time.monotonic() - began
            for process in (*ranks, *([group] if code is None else [])):
                if isinstance(process, subprocess.Popen) or process.is_running():
                    process.kill()
            wrong = "" if code and len(ranks) == 2 else f"{len(ranks)} processes, code {code}"
            wrong = wrong or self.least(out, old=True)
            text = self.log.read_text(encoding="utf-8", errors="replace")
            self.count("launch", "pairs", wrong, text)
            longest = self.counts["launch"]["longest wait, s"]
            self.counts["launch"]["longest wait, s"] = max(longest, round(seconds))


def main() -> None:
    """Carry out the campaign and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--parts", default="fit,study,calls,vanish,together,clock,launch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=100, help="of fit")
    parser.add_argument("--studies", type=int, default=50, help="killed three times each")
    parser.add_argument("--stride", type=int, default=1, help="try every n-th system call")
    parser.add_argument("--times", type=int, default=10, help="of the other parts")
    arguments = parser.parse_args()
    with_faults()
    campaign = Campaign(arguments.out, arguments.seed)
    counts = {"fit": arguments.kills, "study": arguments.studies, "calls": arguments.stride}
    began = time.monotonic()
    for name in arguments.parts.split(","):
        part: Callable[[int], None] = getattr(campaign, name)
        part(counts.get(name, arguments.times))
        told = ", ".join(f"{n} {what}" for what, n in campaign.counts.get(name, {}).items())
        print(f"| {name} | {told} |", flush=True)
    print(f"{len(campaign.faults)} faults, {time.monotonic() - began:.0f} s")
    text = re.sub(r"\s+$", "", "\n".join(campaign.faults))
    found = {"counts": campaign.counts, "faults": text.splitlines(), "seed": arguments.seed}
    (arguments.out / "hardening.json").write_text(json.dumps(found, indent=1))
    raise SystemExit(bool(campaign.faults))


if __name__ == "__main__":
    main()
