"""Files of more rows than are read at once."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import headstart as hs
from alike import leading
from cli.rows import Run
from headstart.data.tables.stream import ROWS_AT_ONCE

COUNT = ROWS_AT_ONCE + 40


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    words = ["good", "bad", "film", "a"]
    texts = [" ".join(words[(n + i) % 4] for i in range(1 + n % 9)) for n in range(COUNT)]
    labels = ["positive" if n % 2 else "negative" for n in range(COUNT)]
    return pd.DataFrame({"sentence": texts, "label": labels, "id": range(COUNT)})


@pytest.fixture(scope="module")
def expected(run_folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    return hs.load(run_folder).predict_frame(table)


@pytest.mark.parametrize("ending", leading(["csv", "parquet", "tsv", "jsonl"], 2))
def test_parts_are_predicted_as_the_whole_in_order(
    cli: Run,
    run_folder: Path,
    table: pd.DataFrame,
    expected: pd.DataFrame,
    ending: str,
    tmp_path: Path,
) -> None:
    table.to_csv(tmp_path / "rows.csv", index=False)
    out = tmp_path / f"out.{ending}"
    answer = cli("predict", run_folder, "--data", tmp_path / "rows.csv", "--out", out)
    assert (answer.code, answer.err) == (0, "")
    assert f"{COUNT:,} rows" in answer.out
    found = {
        "csv": pd.read_csv,
        "tsv": lambda path: pd.read_csv(path, sep="\t"),
        "jsonl": lambda path: pd.read_json(path, lines=True),
        "parquet": pd.read_parquet,
    }[ending](out)
    assert list(found.columns) == list(expected.columns)
    assert found["id"].astype(int).tolist() == list(range(COUNT))
    assert found["prediction"].tolist() == expected["prediction"].tolist()
    assert found["p_positive"].to_numpy() == pytest.approx(
        expected["p_positive"].to_numpy(), rel=1e-5
    )
    assert not list(tmp_path.glob(".out*"))
    assert not [item for item in tmp_path.iterdir() if item.is_dir()]


def test_parts_are_measured_as_the_whole(
    cli: Run, run_folder: Path, table: pd.DataFrame, tmp_path: Path
) -> None:
    table.to_csv(tmp_path / "rows.csv", index=False)
    expected = hs.load(run_folder).evaluate_frame(table)
    assert hs.evaluate(run_folder, data=tmp_path / "rows.csv") == pytest.approx(expected)
    answer = cli("evaluate", run_folder, "--data", tmp_path / "rows.csv")
    assert f"{COUNT:,} rows" in answer.out
    assert f"{expected['score']:.4f}" in answer.out


def test_a_late_fault_is_found_first_and_named_by_its_row(
    cli: Run, run_folder: Path, table: pd.DataFrame, tmp_path: Path
) -> None:
    table.loc[COUNT - 7, "sentence"] = " "
    table.loc[COUNT - 5, "label"] = "positiv"
    table.to_csv(tmp_path / "rows.csv", index=False)
    out = tmp_path / "out.csv"
    answer = cli("predict", run_folder, "--data", tmp_path / "rows.csv", "--out", out)
    assert answer.code == 2
    assert f"1 row ({COUNT - 6})" in answer.err
    assert [item.name for item in tmp_path.iterdir()] == ["rows.csv"]
    answer = cli("evaluate", run_folder, "--data", tmp_path / "rows.csv")
    assert f"1 row ({COUNT - 4})" in answer.err


def test_a_column_that_changes_its_type_late_keeps_its_values(
    cli: Run, run_folder: Path, tmp_path: Path
) -> None:
    lines = [json.dumps({"sentence": "a film", "extra": None})] * ROWS_AT_ONCE
    (tmp_path / "rows.jsonl").write_text(
        "\n".join([*lines, '{"sentence": "good", "extra": "late"}'])
    )
    out = tmp_path / "out.parquet"
    answer = cli("predict", run_folder, "--data", tmp_path / "rows.jsonl", "--out", out)
    assert (answer.code, answer.err) == (0, "")
    extra = pd.read_parquet(out)["extra"]
    assert extra.iloc[-1] == "late"
    assert extra.iloc[:-1].isna().all()
