"""Studies in Python: the same grid, folder and figures as those of ``headstart study``."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from headstart.config import FitConfig
from headstart.errors import ConfigError, did_you_mean, raise_all
from headstart.files.home import path_of
from headstart.files.writing import require_free, write_output
from headstart.report.answer import answer
from headstart.report.card import section
from headstart.report.page import build
from headstart.report.read import Evidence, Run
from headstart.report.read import read_study as read_evidence
from headstart.study import formats
from headstart.study.outcome import tables
from headstart.study.outcome.read import split_lines
from headstart.study.plan import KEYS, full_name
from headstart.study.request import choose_executor, request
from headstart.study.running.inline import InlineExecutor, check_that_workers_can_start
from headstart.study.running.main import begin, carry_out_study
from headstart.study.running.runner import State, Watch
from headstart.study.running.worker import Outcome
from headstart.study.store import PlannedRun

__all__ = ["StudyResult", "read_study", "run_study"]

log = logging.getLogger("headstart")


@dataclass(frozen=True)
class StudyResult:
    """The result of a study so far."""

    evidence: Evidence

    @property
    def out(self) -> str:
        """The study's folder."""
        return self.evidence.address

    @property
    def answer(self) -> str:
        """Which strategy is best on this data, and how sure one can be, in two sentences."""
        found = answer(self.evidence.summary)
        return f"{found.best} {found.sure}"

    @property
    def scores(self) -> list[dict[str, Any]]:
        """A row for each strategy in each group, as in the table's CSV; plain data.

        Scores and differences are shares of 1, not points. What is not known is ``None``: the
        comparison of the baseline with itself, for example.
        """
        return tables.records(self.evidence.summary)

    @property
    def differences(self) -> list[dict[str, Any]]:
        """The rows of ``scores`` that are compared with the baseline."""
        return [row for row in self.scores if row["difference"] is not None]

    @property
    def runs(self) -> Sequence[Run]:
        """The finished runs: ``id``, ``axes`` (task, strategy, seed …) and ``result``."""
        return self.evidence.runs

    @property
    def failures(self) -> list[dict[str, Any]]:
        """The failed runs: ``id``, ``axes``, ``error`` and more."""
        return self.evidence.summary.failures

    def table(self, form: Literal["text", "md", "csv", "latex"] = "text") -> str:
        """Write the comparison of the strategies.

        Args:
            form: How to write it.

        Returns:
            The text.
        """
        if form not in formats.FORMATS:
            fix = f"Use one of {', '.join(formats.FORMATS)}."
            raise ConfigError("a known form of the table", repr(form), fix)
        return formats.as_text(self.evidence.summary, form)

    def card(self) -> str:
        """Write the study as a section for a model card, in Markdown."""
        return section(self.evidence)

    def report(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the study as one page of HTML.

        Args:
            path: The file.
            overwrite: Whether a file that is there may be replaced.

        Raises:
            RunError: If it cannot be written, or something is there.
        """
        require_free(path_of(path), overwrite=overwrite, option="path")
        page = build(self.evidence).encode()
        write_output(path_of(path), page, overwrite=overwrite, option="path")

    def __str__(self) -> str:
        return f"{self.answer}\n\n{self.table()}"


class _Log(Watch):
    """Writes to the log what ends, as a run writes its steps."""

    def __init__(self) -> None:
        self.state = State(0)

    def looked(self, state: State) -> None:
        self.state = state

    def ended(self, run: PlannedRun, outcome: Outcome) -> None:
        ended = len(self.state.done | self.state.failed | {run.id})
        where = ", ".join(str(value) for value in run.axes.values() if value is not None)
        log.info("%d of %d: %s in %.1f s", ended, self.state.total, where, outcome.seconds)
        if outcome.result is None:
            log.warning("failed: %s: %s", where, (outcome.failure or {}).get("error"))


# long: one parameter for each option of the command
def run_study(
    *,
    out: str | Path,
    config: str | Path | None = None,
    task: Any = None,
    model: str | Path | Sequence[str] | None = None,
    strategies: str | Sequence[str] | None = None,
    seeds: int | Sequence[int] | str | None = None,
    train_rows: int | Sequence[int | None] | str | None = None,
    grid: Mapping[str, Sequence[Any]] | None = None,
    baseline: str | None = None,
    train: str | Path | None = None,
    validation: str | Path | None = None,
    text: str | Sequence[str] | None = None,
    label: str | None = None,
    data: str | Path | None = None,
    selection: Literal["validation", "carve"] | None = None,
    settings: Mapping[str, Any] | None = None,
    workers: int | None = None,
    threads: int | None = None,
    executor: Literal["local", "ray"] = "local",
    ray_address: str | None = None,
    cpus: float = 1,
    gpus: float = 0,
    retry_failed: bool = False,
    watch: Watch | None = None,
    **others: Any,
) -> StudyResult:
    """Carry out the runs of a study that are missing; the words are those of ``study run``.

    A run that has finished is never repeated, so the same call goes on after an interruption. By
    default the runs are carried out in this process, one after the other. Several ``workers`` are
    processes of their own: in a script the call then has to stand below
    ``if __name__ == "__main__":``, because every worker imports the script.

    Args:
        out: Folder of the study, or an fsspec address.
        config: YAML or TOML file with the study; what is given here wins over it.
        task: A built-in task, a task file, a mapping of settings with a ``name``, or a list.
        model: Folder or hub name, or a list.
        strategies: Strategy lines or aliases, as a list or split at commas.
        seeds: How many, or a list. By default 6, the fewest with which p can be below 0.05.
        train_rows: Sizes of the training sample; ``None`` or ``all`` among them is all rows.
        grid: Values of further settings by name.
        baseline: What others are compared with; by default the first strategy.
        train: File with training rows, in place of ``task``.
        validation: File with validation rows.
        text: Text column, or two for pairs of texts.
        label: Label column.
        data: Folder with the task's files; of several tasks, one below each.
        selection: Rows that choose the state or the length. ``carve`` takes them from the training
            rows, so that nothing has looked at the rows of the score.
        settings: Settings of all runs as a mapping, as ``others`` are.
        workers: Runs at a time: 1 by default, all that there is room for on Ray.
        threads: CPU threads of a run; by default the user's ``OMP_NUM_THREADS``, and without it
            those that this process has, or a worker's share of the cores.
        executor: Where the runs are carried out.
        ray_address: ``auto``, or HOST:PORT of a cluster; by default Ray is started here.
        cpus: CPUs of a run on Ray.
        gpus: GPUs of a run on Ray.
        retry_failed: Whether failed runs are repeated.
        watch: Hears what happens; by default the log does, and warns of runs that fail.
        **others: Settings of all runs by the names that ``fit`` gives them: ``epochs=2``. Those
            that a study decides itself, such as ``resume``, are refused.

    Returns:
        What the study says. A run that fails stops no other: see ``StudyResult.failures``.

    Raises:
        HeadstartError: If anything about the study is at fault; nothing has run then.
    """
    rows = {"train": train, "validation": validation, "text": text, "label": label}
    _refuse_tables({**rows, "task": task})
    keys, own = _sorted_out(others)
    axes = {
        "tasks": task, "models": _plain(model), "strategies": strategies, "seeds": seeds,
        "train_rows": train_rows, "grid": grid, "baseline": baseline, **keys,
    }  # fmt: skip
    own |= {"data": data, "selection": selection}
    plan = request(
        None if config is None else Path(config), axes,
        {name: _plain(value) for name, value in rows.items()}, _merged(settings or {}, own),
    )  # fmt: skip
    here = executor == "local" and workers in (None, 1) and ray_address is None
    if executor == "local" and not here:
        check_that_workers_can_start(workers or 1)
    made = (
        InlineExecutor(threads)
        if here
        else choose_executor(executor, workers, threads, ray_address, cpus, gpus, str(out))
    )
    study = begin(plan, str(out), retry_failed=retry_failed)
    carry_out_study(study, made, watch or _Log())
    return read_study(out, study.baseline)


def read_study(
    out: str | Path, baseline: str | None = None, strategies: str | Iterable[str] = ()
) -> StudyResult:
    """Read what a study's folder holds at present.

    Args:
        out: Folder or fsspec address.
        baseline: What to compare with; by default what the study was planned with.
        strategies: Those to show, as a list or split at commas; all by default.

    Returns:
        What the study says.

    Raises:
        HeadstartError: If there is no study, or a strategy is not in it.
    """
    shown = split_lines(strategies) if isinstance(strategies, str) else strategies
    evidence = read_evidence(str(out), baseline, shown)
    for sentence in evidence.summary.damaged:
        log.warning("damaged: %s", sentence)
    return StudyResult(evidence)


def _sorted_out(others: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Separate keys of a study file from settings of its runs; unknown names are refused."""
    words = [*inspect.signature(run_study).parameters, *KEYS, *FitConfig.model_fields]
    unknown = [name for name in others if full_name(name) not in words]
    raise_all(
        ConfigError(
            "a word of run_study, or a setting of fit", repr(name), did_you_mean(name, words)
        )
        for name in unknown
    )
    keys = {name: value for name, value in others.items() if full_name(name) in KEYS}
    return keys, {name: value for name, value in others.items() if name not in keys}


def _merged(settings: Mapping[str, Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """Merge settings of all runs; each may be given once."""
    own = {name: _plain(value) for name, value in named.items() if value is not None}
    twice = own.keys() & {name.replace("-", "_") for name in settings}
    raise_all(
        ConfigError(f"{name} in one place", "an argument and in settings", "Drop one.")
        for name in sorted(twice)
    )
    return {**settings, **own}


def _plain(value: Any) -> Any:
    """Return paths as text, as they are written into the study's folder."""
    return str(value) if isinstance(value, Path) else value


def _refuse_tables(given: Mapping[str, Any]) -> None:
    """Refuse rows in memory: a run is known by its files, and workers read them by themselves."""
    several = given["task"] if isinstance(given["task"], list | tuple) else [given["task"]]
    own = [task for task in several if isinstance(task, Mapping)]
    named = [(k, t.get(k)) for t in (given, *own) for k in ("train", "validation")]
    raise_all(
        ConfigError(
            f"the name of a file as {name} of a study", f"a {type(value).__name__}",
            f"Write it, for example by table.to_csv('{name}.csv', index=False), and give "
            f"{name}='{name}.csv': a study knows its runs by their files.",
        )
        for name, value in named
        if not isinstance(value, str | Path | None)
    )  # fmt: skip
