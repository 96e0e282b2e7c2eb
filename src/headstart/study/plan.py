"""The grid of a study: tasks, models, strategies, seeds, sizes and settings.

::

    tasks: [rte, {name: mine, train: train.csv, validation: dev.csv, text: sentence}]
    models: [roberta-base]
    strategies: [ft, lp-ft, "bitfit(epochs=2) > full"]
    seeds: 10                  # 0 to 9; or a list; 6 by default
    train_rows: [100, all]     # optional
    grid: {lr: [1e-5, 3e-5]}   # optional: any setting of `headstart fit`
    settings: {epochs: 4}      # optional: for all runs
    baseline: ft               # optional; the first strategy
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart.config import FitConfig
from headstart.configfile import read_settings
from headstart.errors import ConfigError, HeadstartError, did_you_mean, gathering, raise_all
from headstart.study.fields import SEEDS, misplaced
from headstart.study.outcome.read import split_lines
from headstart.study.outcome.summary import AXES
from headstart.tuners._bind import read_strategy

KEYS = (
    "tasks", "models", "strategies", "seeds", "train_rows", "grid", "settings", "baseline",
)  # fmt: skip
MOST_RUNS = 100_000
"""More are a slip of the pen, and would not be carried out in years."""
Task = Mapping[str, Any]


@dataclass(frozen=True)
class StudyPlan:
    """The grid of a study, checked.

    Args:
        tasks: Settings that say what a task is, ``name`` among them.
        models: Folders or hub names.
        strategies: Strategy lines in their canonical form.
        seeds: Seeds.
        train_rows: Sizes of the training sample; ``None`` is all rows.
        grid: Values of further settings by name.
        settings: Settings of all runs.
        baseline: The strategy that others are compared with.
    """

    tasks: tuple[Task, ...]
    models: tuple[str, ...]
    strategies: tuple[str, ...]
    seeds: tuple[int, ...]
    train_rows: tuple[int | None, ...] = (None,)
    grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    baseline: str = ""

    def __len__(self) -> int:
        sizes = (self.tasks, self.models, self.strategies, self.seeds, self.train_rows)
        count = 1
        for axis in (*sizes, *self.grid.values()):
            count *= len(axis)
        return count

    def runs(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Yield the axes and the settings of every run.

        All strategies of a seed follow one another, so that a study that is stopped early has
        whole pairs. A strategy is compared as it is written: unless asked otherwise, no run goes
        back to an earlier stage's model.
        """
        for seed, task, model, rows, values, strategy in itertools.product(
            self.seeds, self.tasks, self.models, self.train_rows,
            itertools.product(*self.grid.values()), self.strategies,
        ):  # fmt: skip
            chosen = dict(zip(self.grid, values, strict=True))
            own = {k: v for k, v in task.items() if k != "name"}
            axes = {
                "task": task["name"], "model": model, "strategy": strategy, "train_rows": rows,
                "seed": seed, **chosen,
            }  # fmt: skip
            settings = {
                "select": "last", **self.settings, **own, **chosen,
                "model": model, "strategy": strategy, "seed": seed, "train_rows": rows,
            }  # fmt: skip
            yield axes, settings


def read_plan(values: Mapping[str, Any]) -> StudyPlan:
    """Check the description of a study.

    Keys are as in the file; ``task``, ``model`` and ``strategy`` will do as well. Raises
    ``HeadstartError`` for all faults together.
    """
    faults: list[HeadstartError] = []
    given = _known_keys(values, faults)
    axes = {name: _several(given.get(name)) for name in ("tasks", "models", "strategies")}
    axes["strategies"] = [s for line in axes["strategies"] for s in split_lines(str(line))]
    for name, found in axes.items():
        faults += _check_axis(name, found if name != "strategies" else found[:1])
    settings, grid = _table(given, "settings", faults), _table(given, "grid", faults)
    grid = {name.replace("-", "_"): _several(v) for name, v in grid.items()}
    settings = {name.replace("-", "_"): v for name, v in settings.items()}
    for name, found in grid.items():
        faults += _check_axis(f"grid: {name}", found)
        if name in AXES or name in settings:
            other = f"{name}s" if name in AXES else "settings"
            faults.append(ConfigError(f"{name} in one place", f"grid and {other}", "Drop one."))
    seeds, rows = _seeds(given.get("seeds", SEEDS), faults), _sizes(given.get("train_rows"), faults)
    faults += _check_axis("train_rows", rows, empty=True)
    names = _canonical(axes["strategies"], faults)
    faults += _check_axis("strategies", names, empty=True)
    named = _canonical([given["baseline"]], faults) if given.get("baseline") else names[:1]
    baseline = named[0] if named else ""
    if named and names and baseline not in names:
        faults.append(
            ConfigError(
                "a baseline among the strategies", repr(baseline), did_you_mean(baseline, names)
            )
        )
    tasks = [_task(task, settings, len(axes["tasks"]), faults) for task in axes["tasks"]]
    faults += _check_axis("names of the tasks", [t["name"] for t in tasks], empty=True)
    faults += misplaced((*settings, *grid))
    raise_all(faults)
    settings = {k: v for k, v in settings.items() if k != "data" or len(tasks) == 1}
    plan = StudyPlan(
        tuple(tasks), tuple(map(str, axes["models"])), tuple(names), tuple(seeds),
        tuple(rows) or (None,), {k: tuple(v) for k, v in grid.items()}, settings, baseline,
    )  # fmt: skip
    if len(plan) > MOST_RUNS:
        fix = "Write fewer seeds or values, or make several studies of it."
        raise ConfigError(f"at most {MOST_RUNS:,} runs in a study", f"{len(plan):,}", fix)
    raise_all(_check_runs(plan))
    return plan


def _known_keys(values: Mapping[str, Any], faults: list[HeadstartError]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for key, value in values.items():
        name = full_name(str(key))
        if name not in KEYS:
            fix = did_you_mean(name, KEYS)
            if name == "seed":
                fix = "Write seeds: how many, or a list of them."
            elif name in FitConfig.model_fields:
                fix = "Settings of all runs stand below 'settings', several values below 'grid'."
            faults.append(ConfigError("a key of a study", repr(str(key)), fix))
        elif name in given:
            faults.append(ConfigError(f"{name} once", "twice", "Keep one."))
        else:
            given[name] = value
    return given


def read_plan_file(path: Path) -> dict[str, Any]:
    """Read the description of a study, not checked yet; paths in it are relative to the file."""
    return {full_name(name): value for name, value in read_settings(path).items()}


def _canonical(lines: Iterable[Any], faults: list[HeadstartError]) -> list[str]:
    names = []
    for line in lines:
        with gathering(faults):
            names.append(read_strategy(str(line)).name)
    return names


def full_name(name: str) -> str:
    """Return a key of a study, of which some may be written as a setting of one run.

    ``seed`` is no such key: of a run it is which one, not how many.
    """
    name = name.replace("-", "_")
    single = {"task": "tasks", "model": "models", "strategy": "strategies"}
    return single.get(name, name)


def _several(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _table(given: Mapping[str, Any], name: str, faults: list[HeadstartError]) -> dict[str, Any]:
    value = given.get(name) or {}
    if isinstance(value, Mapping):
        return {str(k): v for k, v in value.items()}
    faults.append(ConfigError(f"{name} as a table of settings", repr(value), "Write name: value."))
    return {}


_HOW = {
    "tasks": "Name one as task, or training rows as train.",
    "models": "Name one as model: a folder or a hub name.",
}


def _check_axis(name: str, values: Sequence[Any], empty: bool = False) -> Iterator[ConfigError]:
    if not values and not empty:
        yield ConfigError(
            f"at least one value of {name}", "none", _HOW.get(name, "Name one or more.")
        )
    counts = Counter(str(value) for value in values)
    for value in sorted(v for v, count in counts.items() if count > 1):
        yield ConfigError(f"each value of {name} once", f"{value!r} twice", "Remove one.")


def _seeds(value: Any, faults: list[HeadstartError]) -> list[int]:
    parts = value.split(",") if isinstance(value, str) else _several(value)
    try:
        seeds = [int(str(part)) for part in parts]
    except ValueError:
        seeds = []
    if len(seeds) == 1 and not isinstance(value, list | tuple):
        seeds = list(range(min(seeds[0], MOST_RUNS + 1)))
    if not 0 < len(seeds) <= MOST_RUNS or min(seeds) < 0:
        fix = "Write how many, for example 10, or a list such as 0,1,2; 1 is seed 0 alone."
        faults.append(
            ConfigError(f"how many seeds, 1 to {MOST_RUNS:,}, or a list of seeds", repr(value), fix)
        )
        return []
    faults += _check_axis("seeds", seeds)
    return seeds


def _sizes(value: Any, faults: list[HeadstartError]) -> list[int | None]:
    parts = value.split(",") if isinstance(value, str) else _several(value)
    words = ["all" if part is None else str(part).strip() for part in parts]
    if all((word.isdecimal() and len(word) < 19) or word == "all" for word in words):
        return [None if word == "all" else int(word) for word in words]
    fix = "Write numbers of rows; all is the whole sample."
    faults.append(ConfigError("sizes such as 100,500,all for train_rows", repr(value), fix))
    return []


def _task(
    task: Any, settings: Mapping[str, Any], count: int, faults: list[HeadstartError]
) -> dict[str, Any]:
    """Return the settings of one task; of several in one folder, each has its own below."""
    own = {str(k).replace("-", "_"): v for k, v in task.items()} if isinstance(task, Mapping) else {
        "task": str(task)
    }  # fmt: skip
    for name in sorted(own.keys() - {"name", *FitConfig.model_fields}):
        known = ["name", *FitConfig.model_fields]
        faults.append(ConfigError("settings of a task", repr(name), did_you_mean(name, known)))
        del own[name]
    if "data" in settings and count > 1 and "data" not in own and "train" not in own:
        below = Path(str(settings["data"])) / str(own.get("task", ""))
        own["data"] = str(below if below.is_dir() else settings["data"])
    name = own.get("name") or own.get("task") or Path(str(own.get("train", "data"))).stem
    return {**own, "name": Path(str(name)).stem}


def _check_runs(plan: StudyPlan) -> list[HeadstartError]:
    """Return what is wrong with the settings of single runs, each fault once."""
    faults: list[HeadstartError] = []
    first = next(iter(plan.seeds))
    for axes, settings in plan.runs():
        if axes["seed"] == first:
            with gathering(faults):
                FitConfig.build(settings)
    return list({str(fault): fault for fault in faults}.values())
