"""The settings of ``headstart fit`` that a study does not take, with the reasons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from headstart.errors import ConfigError

SEEDS = 6
"""Seeds by default: the fewest with which an exact paired test can reach p = 0.05."""
AXES_OF = {
    "task": "tasks",
    "model": "models",
    "strategy": "strategies",
    "seed": "seeds",
    "train_rows": "train_rows",
}
"""Settings of a run that differ within a study, and what the axis of each is called in a file."""
NOT_IN_A_STUDY = {
    "out": "a study has one folder for all its runs",
    "resume": "a study always goes on where it was",
    "overwrite": "a finished run of a study is never repeated",
    "checkpoint_minutes": "the runs of a study write no checkpoints",
    "checkpoint_steps": "the runs of a study write no checkpoints",
    "threads": "whoever carries out the runs decides; say how many by --threads, or threads=…",
    "budget": "what the clock allows differs from run to run; nothing could be paired",
}
"""Settings of a run that a study decides itself, with the reason."""


def misplaced(settings: Iterable[str]) -> Iterator[ConfigError]:
    """Yield what is wrong about the names of settings of all runs.

    There is one for each setting that no study takes, or that is an axis of its own.
    """
    for name in settings:
        if name in NOT_IN_A_STUDY:
            fix = f"Drop it: {NOT_IN_A_STUDY[name]}."
            yield ConfigError(f"a study without {name}", name, fix)
        elif name in AXES_OF:
            fix = f"Write {_axis(name)}."
            yield ConfigError(f"{name} as an axis of its own", f"{name} in settings", fix)


def _axis(name: str) -> str:
    """Describe where a setting's axis is written."""
    axis = AXES_OF[name]
    word = name if name in ("task", "model") else axis
    option = word.replace("_", "-")
    meaning = ", how many or a list" if name == "seed" else ""
    ways = f"--{option} on the command line, {word}=… in Python, {axis} beside 'settings' in a file"
    return f"{axis}{meaning}: {ways}"
