"""Commands write over nothing that they were not told to replace."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

import headstart as hs
from cli.rows import Run
from headstart.cli.shared import write as _write
from headstart.cli.shared.write import WRITERS, writing
from headstart.errors import RunError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


ROWS = pd.DataFrame({"n": [1, 2], "text": ["ä", "b\r\nc"]})


@pytest.mark.parametrize("ending", WRITERS)
def test_rows_come_whole_with_the_mode_of_any_file(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{ending}"
    with writing(path) as write:
        write(ROWS)
        write(ROWS)
    (tmp_path / "any").touch()
    assert path.stat().st_mode == (tmp_path / "any").stat().st_mode
    assert names(tmp_path) == ["any", path.name]
    with pytest.raises(ZeroDivisionError), writing(path, overwrite=True) as write:
        write(ROWS)
        raise ZeroDivisionError
    assert path.stat().st_size > 0
    assert names(tmp_path) == ["any", path.name]


@pytest.mark.parametrize("ending", WRITERS)
def test_a_link_at_the_old_temporary_name_is_not_followed(ending: str, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("years of work")
    (tmp_path / f".x{ending}.new").symlink_to(theirs)
    with writing(tmp_path / f"x{ending}") as write:
        write(ROWS)
    assert theirs.read_text() == "years of work"


def test_of_two_commands_with_one_target_the_second_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    with (
        pytest.raises(RunError, match="exists"),
        writing(path) as slow,
    ):
        slow(ROWS)
        with writing(path) as quick:
            quick(ROWS.head(1))
    assert path.read_text(encoding="utf-8") == '"n","text"\n1,"ä"\n'
    assert names(tmp_path) == ["x.csv"]


def test_predictions_replace_a_file_only_if_told(
    cli: Run, run_folder: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "x.csv"
    out.write_text("years of work")
    words = ("predict", run_folder, "--data", files[1], "--out", out)
    answer = cli(*words)
    assert answer.code == 2
    assert "--overwrite" in answer.err
    assert out.read_text() == "years of work"
    assert cli(*words, "--overwrite").code == 0
    assert len(pd.read_csv(out)) == 32
    (tmp_path / "d.csv").mkdir()
    answer = cli(*words[:-1], tmp_path / "d.csv", "--overwrite")
    assert answer.code == 2
    assert "which is none" in answer.err


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_all_that_a_run_leaves_has_one_mode(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "any").touch()
    usual = (tmp_path / "any").stat().st_mode
    hs.Head.from_pretrained(run_folder).save(tmp_path / "head")
    found = [p for folder in (run_folder, tmp_path) for p in folder.rglob("*") if p.is_file()]
    assert {path.suffix for path in found} >= {".safetensors", ".json", ".yaml", ".txt", ".md"}
    assert [path for path in found if path.stat().st_mode != usual] == []


def test_the_parts_of_a_table_are_kept_beside_it(tmp_path: Path) -> None:
    """The system's folder for temporary files may be small."""
    with _write.writing(tmp_path / "x.parquet") as write:
        write(ROWS)
        assert len(list(tmp_path.glob(".parts-*/*.parquet"))) == 1
    assert names(tmp_path) == ["x.parquet"]
