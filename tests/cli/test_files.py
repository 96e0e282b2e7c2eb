"""Files as people have them, by the command line: what was made of them is said and recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from cli.rows import Run, write_rows
from headstart.config import FitConfig
from headstart.study.identity import Digests

STRATEGY = ("--strategy", "head(steps=2)", "--device", "cpu", "--text", "sentence", "--quiet")


@pytest.fixture
def rows(tmp_path: Path) -> pd.DataFrame:
    write_rows(tmp_path / "rows.csv", 20, 0)
    return pd.read_csv(tmp_path / "rows.csv", dtype=str)


def test_a_run_says_and_records_what_it_made_of_the_rows(
    cli: Run, model: Path, rows: pd.DataFrame, tmp_path: Path
) -> None:
    rows.loc[[1, 3], "sentence"] = ["", "  "]
    rows.loc[5, "label"] = ""
    named = rows.rename(columns={"sentence": "Sentence ", "label": "LABEL"})
    named.to_csv(tmp_path / "train.csv", sep=";", index=False)
    words = ["fit", "--model", model, "--train", tmp_path / "train.csv", *STRATEGY]
    refused = cli(*words, "--out", tmp_path / "run")
    assert refused.code == 2
    assert "2 rows (2, 4)" in refused.err
    assert "--empty-text drop" in refused.err
    assert "--missing-label drop" in refused.err
    gaps = ["--empty-text", "drop", "--missing-label", "drop"]
    assert cli(*words, *gaps, "--out", tmp_path / "run").code == 0
    record = json.loads((tmp_path / "run" / "result.json").read_text())
    assert record["data"]["gaps"] == {"train": {"dropped_text": 2, "dropped_label": 1}}
    assert record["data"]["train_rows"] + record["data"]["validation_rows"] == 17
    assert record["warnings"][:5] == [
        "train.csv is separated by semicolons, and was read so.",
        "Column 'Sentence ' was read as 'sentence'.",
        "Column 'LABEL' was read as 'label'.",
        "Left out: 2 of 20 training rows, which have no text (--empty-text drop).",
        "Left out: 1 of 20 training rows, which have no label (--missing-label drop).",
    ]


def test_a_label_at_fault_is_counted_as_in_the_file(
    cli: Run, model: Path, rows: pd.DataFrame, tmp_path: Path
) -> None:
    rows.loc[[1, 3], "sentence"] = ""
    rows.to_csv(tmp_path / "train.csv", index=False)
    rows.assign(label=["negative"] * 6 + ["odd"] + ["positive"] * 13).to_csv(
        tmp_path / "held_out.csv", index=False
    )
    words = ["fit", "--model", model, "--train", tmp_path / "train.csv", *STRATEGY]
    data = ["--validation", tmp_path / "held_out.csv", "--empty-text", "drop"]
    answer = cli(*words, *data, "--out", tmp_path / "run")
    assert "found 'odd' in 1 row (7)" in answer.err


def test_evaluate_counts_and_says(
    cli: Run, run_folder: Path, rows: pd.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows.loc[0, "label"] = ""
    rows.loc[[1, 3], "sentence"] = ""
    rows.rename(columns=str.upper).to_csv(tmp_path / "new.csv", index=False, encoding="utf-16")
    words = ("evaluate", run_folder, "--data", tmp_path / "new.csv", "--json")
    refused = cli(*words)
    assert (refused.code, "--encoding utf-16" in refused.err) == (2, True)
    gaps = ("--empty-text", "drop", "--missing-label", "drop")
    answer = cli(*words, "--encoding", "utf-16", *gaps)
    assert answer.code == 0
    found = json.loads(answer.out)
    assert (found["rows"], found["left_out"]) == (17, 3)
    told = [record.getMessage() for record in caplog.records]
    assert "Column 'SENTENCE' was read as 'sentence'." in told
    assert "Left out: 2 of 20 rows, which have no text (--empty-text drop)." in told
    assert "Left out: 1 of 20 rows, which have no label (--missing-label drop)." in told
    assert len(told) == len(set(told))
    kept = json.loads(cli(*words, "--encoding", "utf-16", "--empty-text", "keep", *gaps[2:]).out)
    assert (kept["rows"], kept["left_out"]) == (19, 1)


def test_predict_keeps_the_columns_as_they_were_and_drops_what_it_shall(
    cli: Run, run_folder: Path, rows: pd.DataFrame, tmp_path: Path
) -> None:
    rows.loc[[1, 3], "sentence"] = ""
    named = rows.rename(columns={"sentence": " Sentence"})
    named.to_csv(tmp_path / "new.csv", index=False)
    words = ("predict", run_folder, "--data", tmp_path / "new.csv", "--overwrite", "--out")
    assert cli(*words, tmp_path / "p.csv").code == 2
    for how, left in (("drop", named.drop(index=[1, 3])), ("keep", named)):
        assert cli(*words, tmp_path / "p.csv", "--empty-text", how).code == 0
        found = pd.read_csv(tmp_path / "p.csv", dtype=str, keep_default_na=False)
        pd.testing.assert_frame_equal(found[list(named.columns)], left.reset_index(drop=True))
        assert found["prediction"].isin(["negative", "positive"]).all()


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_predict_reads_a_text_a_line(
    cli: Run, run_folder: Path, tmp_path: Path, encoding: str
) -> None:
    (tmp_path / "new.txt").write_bytes("café, good\r\na bad film\r\n".encode(encoding))
    (tmp_path / "gaps.txt").write_text("good\n\nbad film")
    words = ("predict", run_folder, "--data")
    more = ("--encoding", encoding) if encoding != "utf-8" else ()
    answer = cli(*words, tmp_path / "new.txt", *more)
    assert [line.split("\t")[-1] for line in answer.out.splitlines()[1:]] == [
        "café, good", "a bad film",
    ]  # fmt: skip
    if more:
        assert "--encoding cp1252" in cli(*words, tmp_path / "new.txt").err
    assert "1 row (2)" in cli(*words, tmp_path / "gaps.txt").err
    kept = cli(*words, tmp_path / "gaps.txt", "--empty-text", "keep", "--out", tmp_path / "p.csv")
    assert kept.code == 0
    assert pd.read_csv(tmp_path / "p.csv", keep_default_na=False)["sentence"].tolist() == [
        "good", "", "bad film",
    ]  # fmt: skip
    refused = cli(*words, tmp_path / "new.txt", "--split", "test")
    assert (refused.code, "which has no splits" in refused.err) == (2, True)


@pytest.mark.parametrize("option", ["--empty-text", "--missing-label", "--encoding"])
def test_a_word_that_is_none_is_refused(cli: Run, run_folder: Path, option: str) -> None:
    answer = cli("evaluate", run_folder, "--data", run_folder / "none.csv", option, "perhaps")
    assert answer.code == 2
    assert "perhaps" in answer.err or "none.csv" in answer.err


def test_studies_made_before_these_settings_keep_their_runs(model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.csv", 20, 0)
    plain = {"model": str(model), "train": str(tmp_path / "rows.csv"), "text": "sentence"}
    names = {"encoding", "empty_text", "missing_label"}
    before = Digests()
    config = FitConfig.build(plain)
    fields = {k: v for k, v in config.plain().items() if k not in names}

    class Older:
        """Settings as they were before."""

        def __getattr__(self, name: str) -> object:
            return getattr(config, name)

        def plain(self) -> dict[str, object]:
            return fields

    assert before.of_run(Older()) == before.of_run(config)  # type: ignore[arg-type]
    for name, value in (("encoding", "cp1252"), ("empty_text", "keep"), ("missing_label", "drop")):
        assert before.of_run(FitConfig.build({**plain, name: value})) != before.of_run(config)
