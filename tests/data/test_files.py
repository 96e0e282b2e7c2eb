"""What stands around the rows of a file: its packing, encoding and separator; and workbooks."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from headstart.data._faults import notes
from headstart.data.tables import _files
from headstart.data.tables._files import PACKINGS
from headstart.data.tables.sources import READERS, read_table
from headstart.data.tables.stream import TableParts
from headstart.errors import ConfigError, DataError
from headstart.tasks import builtin

ROWS = pd.DataFrame({"text": ["naïve, «café»", 'said "no"', "x"], "label": ["1", "0", "1"]})


def write(folder: Path, content: str | bytes, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def zipped(data: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("__MACOSX/._inner", b"not rows")
        opened.writestr("folder/.DS_Store", b"not rows")
        opened.writestr("folder/inner.csv", data)
    return archive.getvalue()


PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
    ".zip": zipped,
}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_every_packing_gives_the_same_rows(suffix: str, packing: str, tmp_path: Path) -> None:
    plain = tmp_path / f"x{suffix}"
    match suffix:
        case ".csv":
            ROWS.to_csv(plain, index=False)
        case ".jsonl":
            ROWS.to_json(plain, orient="records", lines=True)
        case ".parquet":
            ROWS.to_parquet(plain)
    data = plain.read_bytes()
    path = tmp_path / f"rows{suffix}{packing}"
    if packing == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"rows{suffix}", data)
    else:
        path.write_bytes(PACK[packing](data))
    pd.testing.assert_frame_equal(read_table(path), ROWS)
    # Cut in the middle, it is damaged, and said to be so.
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])
    with pytest.raises(DataError, match="a readable file"):
        read_table(path)


def test_every_packing_was_covered() -> None:
    assert PACKINGS.keys() == PACK.keys()


def test_a_tasks_folder_holds_any_file_that_is_read() -> None:
    assert set(builtin.PACKED) == {"", *PACKINGS}
    assert set(builtin.SPLIT_SUFFIXES) == READERS.keys()


def test_the_kind_of_a_zipped_file_is_that_of_the_file_in_it(tmp_path: Path) -> None:
    path = write(tmp_path, zipped(b"a,b\n1,2\n"), "anything.zip")
    assert read_table(path).to_dict("list") == {"a": ["1"], "b": ["2"]}


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a.csv", "b.csv"], r"one file in .*two.zip; found 2 \(a.csv, b.csv\). Unpack it"),
        ([], "one file in .*two.zip; found none"),
        (["a.exe"], "one of the kinds .*found 'a.exe' in .*two.zip"),
    ],
)
def test_a_zip_file_holds_one_file(names: list[str], told: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        for name in names:
            archive.writestr(name, "a,b\n1,2\n")
    with pytest.raises(DataError, match=told):
        read_table(tmp_path / "two.zip")


def test_a_zip_file_whose_names_are_no_text(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("é.csv", "a,b\n1,2\n")
    data = (tmp_path / "a.zip").read_bytes().replace("é".encode(), b"\xff\xff")
    with pytest.raises(DataError, match="a readable file"):
        read_table(write(tmp_path, data, "a.zip"))


def test_a_packed_file_that_fits_in_no_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_files.psutil, "virtual_memory", lambda: _Memory(2_000_000))
    path = write(tmp_path, bz2.compress(b"a\n" + b"1\n" * 1_000_000), "bomb.csv.bz2")
    assert path.stat().st_size < 1000
    with pytest.raises(DataError, match="half of the free memory; found more than"):
        read_table(path)


class _Memory:
    def __init__(self, available: int) -> None:
        self.available = available


@pytest.mark.parametrize(
    ("name", "mark", "told"),
    [
        ("a.csv", ";", "semicolons"),
        ("a.csv", "\t", "tabs"),
        ("a.csv", "|", "bars"),
        ("a.tsv", ",", "commas"),
        ("a.tsv", ";", "semicolons"),
    ],
)
def test_another_separator_is_read_and_said(
    name: str, mark: str, told: str, tmp_path: Path
) -> None:
    text = f'text;label\n"a{mark}b, c";1\nplain;2\n'.replace(";", mark)
    if mark == ";":
        text = 'text;label\n"a;b, c";1\nplain;2\n'
    path = write(tmp_path, text, name)
    rows = read_table(path)
    assert rows.to_dict("list") == {"text": [f"a{mark}b, c", "plain"], "label": ["1", "2"]}
    assert notes(rows) == [f"{name} is separated by {told}, and was read so."]


def test_the_separator_that_parts_the_rows_evenly_is_taken(tmp_path: Path) -> None:
    rows = read_table(write(tmp_path, "id;text, or so;label\n1;a, b;0\n2;c;1\n", "a.csv"))
    assert rows.to_dict("list") == {
        "id": ["1", "2"], "text, or so": ["a, b", "c"], "label": ["0", "1"],
    }  # fmt: skip
    rows = read_table(write(tmp_path, "text,a;b;c\nx;y,1\nz,2\n", "a.csv"))
    assert rows.to_dict("list") == {"text": ["x;y", "z"], "a;b;c": ["1", "2"]}
    rows = read_table(write(tmp_path, 'text,a;b\n"begun\n' + "on\n" * 200 + '",1\n', "a.csv"))
    assert rows["a;b"].tolist() == ["1"]


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;\r"])
def test_what_a_spreadsheet_writes_before_the_header_is_no_row(line: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"{line}\ntext;label\na;1\nb;2\n", "a.csv")
    assert read_table(path).to_dict("list") == {"text": ["a", "b"], "label": ["1", "2"]}
    parts = [part for _, part in TableParts(path, size=1)]
    assert pd.concat(parts)["text"].tolist() == ["a", "b"]


def test_columns_without_a_name_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, "text,,label,,\na,,1,,x\n", "a.csv")
    names = ["text", "", "label", "column 4", "column 5"]
    assert list(read_table(path).columns) == names
    assert list(next(iter(TableParts(path)))[1].columns) == names


def test_a_comma_in_the_header_decides(tmp_path: Path) -> None:
    rows = read_table(write(tmp_path, 'text,"a;b;c"\nx,1\n', "a.csv"))
    assert list(rows.columns) == ["text", "a;b;c"]
    assert notes(rows) == []
    rows = read_table(write(tmp_path, '"a;b;c"\nx\n', "a.csv"))
    assert rows.to_dict("list") == {"a;b;c": ["x"]}


ACCENTS = "text,label\nUn café très bon,1\n«Fine»,0\n"


@pytest.mark.parametrize(
    ("encoding", "likely"),
    [
        ("cp1252", "--encoding cp1252, which it is most likely in: it then reads 'café'"),
        ("utf-16", "--encoding utf-16, which"),
        ("utf-16-le", "--encoding utf-16-le, which"),
        ("utf-16-be", "--encoding utf-16-be, which"),
        ("utf-32", "--encoding utf-32, which"),
    ],
)
def test_the_likely_encoding_is_named_and_then_read(
    encoding: str, likely: str, tmp_path: Path
) -> None:
    path = write(tmp_path, ACCENTS.encode(encoding))
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert likely in str(caught.value)
    rows = read_table(path, encoding=encoding)
    assert rows.to_dict("list") == {"text": ["Un café très bon", "«Fine»"], "label": ["1", "0"]}


def test_other_scripts_are_not_taken_for_western_ones(tmp_path: Path) -> None:
    letters = "\u0444\u0438\u043b\u044c\u043c"
    path = write(tmp_path, f"text,label\n{letters},1\n{letters * 2},0\n".encode("cp1251"))
    with pytest.raises(DataError, match=r"no UTF-8 text\. Name its encoding.*cp1251"):
        read_table(path)
    assert read_table(path, encoding="cp1251")["text"][0] == letters
    with pytest.raises(DataError, match=r"text in ascii in .*byte 0xf4 at offset 11, line 2"):
        read_table(path, encoding="ascii")
    for name in ("nonsense", "base64", "undefined", "\0"):
        with pytest.raises(ConfigError, match="--encoding to be one that Python knows"):
            read_table(path, encoding=name)


def test_a_workbook(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()  # its first sheet stays empty
    sheet = book.create_sheet("Films")
    for row in (["text", "n", None], [None], ["007", 1], ["x", None], ["", None]):
        sheet.append(row)
    book.create_sheet("More").append(["other"])
    sheet.append(["#N/A", 3])
    sheet["A6"].data_type = "e"
    book.save(tmp_path / "a.xlsx")
    rows = read_table(tmp_path / "a.xlsx")
    assert rows.to_dict("list") == {"text": ["007", "x", None], "n": [1, None, 3]}
    assert notes(rows) == ["a.xlsx has 2 sheets; 'Films', the first, was read."]
    sheet.append(["x", 2, "beside"])
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(DataError, match="found none for column 3 of sheet 'Films'"):
        read_table(tmp_path / "a.xlsx")
    openpyxl.Workbook().save(tmp_path / "none.xlsx")
    with pytest.raises(DataError, match="empty sheets alone"):
        read_table(tmp_path / "none.xlsx")


def test_a_workbook_without_its_package_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(DataError, match=r"pip install 'headstart\[excel\]'"):
        read_table(write(tmp_path, "x", "a.xlsx"))
