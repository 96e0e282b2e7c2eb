"""Which rows a run trains on and is measured on, and what it takes from which of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from headstart.config import FitConfig
from headstart.steps.rows import read_rows
from headstart.steps.settings import find_task
from headstart.steps.types import Splits, data_record
from headstart.targets.number import Number


def numbers(low: float, high: float, rows: int = 20) -> pd.DataFrame:
    values = np.linspace(low, high, rows)
    return pd.DataFrame({"text": [f"row {v:.3f}" for v in values], "label": values})


def classes(rows: int = 60, kind: str = "row") -> pd.DataFrame:
    labels = np.where(np.arange(rows) % 3 == 0, "bad", "good")
    return pd.DataFrame({"text": [f"{kind} {n}" for n in range(rows)], "label": labels})


def splits(train: pd.DataFrame, validation: pd.DataFrame | None = None, **more: Any) -> Splits:
    config = FitConfig(model="m", train="t", text=("text",), **more)
    found = {"train": train, "validation": validation}
    frames = {name: frame for name, frame in found.items() if frame is not None}
    if validation is not None:
        config = config.model_copy(update={"validation": "v"})
    return read_rows(config, find_task(config), frames)


@pytest.mark.parametrize("more", [{}, {"train_rows": 10}, {"selection": "carve"}])
def test_the_unit_of_a_number_is_that_of_the_training_rows(more: dict[str, Any]) -> None:
    """Validation rows are new rows: nothing of them may be known before."""
    found = splits(numbers(0, 10), numbers(1000, 5000), **more)
    values = found.train.labels
    assert values is not None
    assert isinstance(found.kind, Number)
    assert (found.kind.mean, found.kind.scale) == pytest.approx((values.mean(), values.std()))
    assert found.kind.scale < 5
    record = data_record(found)
    assert (record["number_mean"], record["number_scale"]) == (found.kind.mean, found.kind.scale)


def test_seeds_are_measured_on_the_same_validation_rows() -> None:
    found = [
        data_record(splits(classes(), classes(40, "other"), validation_rows=12, seed=seed))
        for seed in range(4)
    ]
    assert {record["validation_rows"] for record in found} == {12}
    assert len({record["validation_fingerprint"] for record in found}) == 1


def test_the_seed_chooses_the_training_rows_of_a_sample_and_what_is_carved() -> None:
    sampled = [
        data_record(splits(classes(), classes(40, "other"), train_rows=12, seed=seed))
        for seed in (0, 0, 1)
    ]
    prints = [record["train_fingerprint"] for record in sampled]
    assert prints[0] == prints[1] != prints[2]
    carved = [data_record(splits(classes(), seed=seed)) for seed in (0, 0, 1)]
    prints = [record["validation_fingerprint"] for record in carved]
    assert prints[0] == prints[1] != prints[2]
