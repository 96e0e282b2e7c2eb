"""Every kind of source gives the same rows, and each kind of damage gets its own message."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from headstart.data._faults import notes
from headstart.data.tables.classnames import class_names
from headstart.data.tables.objects import as_frame
from headstart.data.tables.sources import READERS, read_table
from headstart.data.tables.stream import TableParts
from headstart.errors import DataError

ROWS = [
    {"text": "naïve, «café»", "label": 1},
    {"text": 'she said "no"\nand left', "label": 0},
    {"text": "NA", "label": 1},
]
TABLE = pa.Table.from_pylist(ROWS)


def write_stream(table: pa.Table, path: Path) -> None:
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table)


def write_rows(path: Path) -> None:
    """Write ``ROWS`` in the format that the name asks for."""
    frame = pd.DataFrame(ROWS)
    match path.suffix:
        case ".csv" | ".tsv":
            frame.to_csv(path, index=False, sep="," if path.suffix == ".csv" else "\t")
        case ".xlsx":
            frame.to_excel(path, index=False)
        case ".jsonl" | ".ndjson":
            frame.to_json(path, orient="records", lines=True)
        case ".json":
            frame.to_json(path, orient="records", indent=1)
        case ".parquet":
            parquet.write_table(TABLE, path)
        case ".arrow":
            write_stream(TABLE, path)
        case ".feather":
            feather.write_feather(TABLE, path)


def plain(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{**row, "label": int(row["label"])} for row in frame.to_dict("records")]


@pytest.mark.parametrize("suffix", READERS)
def test_every_file_format_gives_the_same_rows(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"my.rows{suffix}"
    write_rows(path)
    assert plain(read_table(path)) == ROWS
    assert plain(read_table(str(path), split="train", or_all=True)) == ROWS
    with pytest.raises(DataError, match="which has no splits, and 'train' asked for"):
        read_table(str(path), split="train")
    assert list(read_table(path)) == ["text", "label"]
    assert notes(read_table(path)) == []


def test_every_format_was_covered() -> None:
    assert len(READERS) == 9


def test_ipc_file_under_the_name_of_an_arrow_file(tmp_path: Path) -> None:
    feather.write_feather(TABLE, tmp_path / "a.arrow", compression="uncompressed")
    assert plain(read_table(tmp_path / "a.arrow")) == ROWS


def write(folder: Path, content: str | bytes, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(("suffix", "tab"), [(".csv", ","), (".tsv", "\t")])
def test_cells_stay_the_text_that_they_are(suffix: str, tab: str, tmp_path: Path) -> None:
    cells = ["NA", "null", "None", "nan", "007", "1.0", "True", "", " padded ", "a\u2028b\x85c"]
    lines = ["text,label", *(f"{cell},{cell}" for cell in cells)]
    path = write(tmp_path, "\n".join(lines).replace(",", tab), f"x{suffix}")
    frame = read_table(path)
    assert frame["text"].tolist() == cells
    assert frame["label"].tolist() == cells


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_byte_order_mark_line_ends_and_blank_lines(
    suffix: str, newline: str, tmp_path: Path
) -> None:
    lines = ['{"a": "1"}', "", '{"a": "2"}'] if suffix == ".jsonl" else ["a", "1", "", "2"]
    path = write(tmp_path, "\ufeff" + newline.join([*lines, ""]), f"x{suffix}")
    assert read_table(path).to_dict("list") == {"a": ["1", "2"]}


def test_a_long_document_fits_in_a_cell(tmp_path: Path) -> None:
    document = "word " * 50_000
    assert read_table(write(tmp_path, f"a\n{document}\n"))["a"].tolist() == [document]


def test_tsv_without_quoting_keeps_stray_quotes(tmp_path: Path) -> None:
    path = write(
        tmp_path, 'text\tlabel\n"Begun\t1\n5" wide\t0\nended"\t1\n"a ""b"" c"\t0\n', "a.tsv"
    )
    assert read_table(path)["text"].tolist() == ['"Begun', '5" wide', 'ended"', 'a "b" c']


def test_tsv_with_a_tab_in_quotes(tmp_path: Path) -> None:
    path = write(tmp_path, 'text\tlabel\n"a\tb"\t1\n', "a.tsv")
    assert read_table(path)["text"].tolist() == ["a\tb"]


def test_numbers_beyond_all_bounds_are_no_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, '{"a": 1' + "0" * 400 + '}\n{"a": 0.5}\n{"a": 1e999}\n', "a.jsonl")
    cells = read_table(path)["a"].tolist()
    assert cells == [10**400, 0.5, float("inf")]


def test_json_keeps_types_and_gaps(tmp_path: Path) -> None:
    path = write(tmp_path, '{"a": 1, "b": true}\n{"a": null, "b": false, "c": "x"}\n', "a.jsonl")
    rows = read_table(path)
    assert rows["a"].tolist() == [1, None]
    assert isinstance(rows["a"][0], int)
    assert rows["b"].tolist() == [True, False]
    assert rows["c"].tolist() == [None, "x"]


def test_arrow_keeps_whole_numbers_beside_gaps_and_unfolds_categories(tmp_path: Path) -> None:
    table = pa.table({"a": [1, None], "b": pa.array(["x", "y"]).dictionary_encode()})
    parquet.write_table(table, tmp_path / "a=b.parquet")
    rows = read_table(tmp_path / "a=b.parquet")
    assert isinstance(rows["a"][0], int)
    assert not isinstance(rows["b"].dtype, pd.CategoricalDtype)


def test_parquet_of_pandas_keeps_its_index_and_names_columns_by_text(tmp_path: Path) -> None:
    rows = pd.DataFrame({"text": ["a", "b"], "label": [1, 0]})
    rows.set_index("label").to_parquet(tmp_path / "index.parquet")
    assert sorted(read_table(tmp_path / "index.parquet").columns) == ["label", "text"]
    rows.columns = pd.MultiIndex.from_tuples([("x", "text"), ("x", "label")])
    rows.to_parquet(tmp_path / "levels.parquet")
    names = list(read_table(tmp_path / "levels.parquet").columns)
    assert names == ["('x', 'text')", "('x', 'label')"]


def test_the_transform_of_a_data_set_is_told_to_be_left_out() -> None:
    rows = datasets.Dataset.from_dict({"text": ["a"]})
    rows.set_transform(lambda batch: {"text": [text.upper() for text in batch["text"]]})
    frame = as_frame(rows)
    assert frame["text"].tolist() == ["a"]
    assert "set_transform" in notes(frame)[0]


LATIN = "text,label\nfine,0\ncafé,1\n".encode("latin-1")
BROKEN = [
    ("", "a.csv", "found an empty file"),
    ("\ufeff\n \n", "a.csv", "found an empty file"),
    ("text,label\n", "a.csv", "found only column names in .*: text, label"),
    ("[]", "a.json", "at least one row; found none"),
    ("text,text\na,b\n", "a.csv", "found 'text' more than once"),
    (LATIN, "a.csv", r"byte 0xe9 at offset 21, line 3, .*--encoding cp1252"),
    ("a\n1\n".encode("utf-16"), "a.csv", "offset 0, line 1, .*--encoding utf-16,"),
    ("a\n1\n".encode("utf-16-le"), "a.csv", "0x00 at offset 1, line 1, .*--encoding utf-16-le"),
    (b"a\n1\0\n", "a.csv", "0x00 at offset 3, line 2, .*Remove these bytes: tr -d"),
    (b"a;b\n1;2;3\n", "a.csv", "2 fields in every row.* found 3 in line 2"),
    (b"\xef\xbb\xbf" + LATIN, "a.csv", "offset 24, line 3"),
    ('a,b\n1,2\n"open,3\n4,5\n', "a.csv", "the row that begins in line 3"),
    ('a,b\n"x\ny",2\n"z"w,3\n', "a.csv", "the row that begins in line 4"),
    ("a,b\n1,2\n1,2,3\n\n1\n", "a.csv", "2 fields in every row.* found 3 in line 3, 1 in line 5"),
    ("a,b\n" + "1\n" * 7, "a.csv", "1 in line 6 and 2 rows more"),
    ("a\tb\n1\t2\t3\n", "a.tsv", "found 3 in line 2"),
    ('a\tb\n1\t2\t3\n"open\t3\n', "a.tsv", "the row that begins in line 3"),
    ('{"a": 1}\n\n{"a": }\n', "a.jsonl", r"Expecting value in .*, line 3, column 7"),
    ('{"a": 1}\n[2]\n', "a.jsonl", r"found \[2\] in .*, line 2"),
    ('[{"a": 1},\n{"a" 2}]', "a.json", "line 2, column 6"),
    ("[{}, 7]", "a.json", "found 7 in .*, row 2"),
    ('{"a": 1}\n{"a": ' + "[" * 50_000 + "\n", "a.jsonl", "nested too deeply in .*, line 2"),
    ("[" * 50_000, "a.json", "found brackets nested too deeply in"),
    ('{"a": ' + "[" * 50_000 + "]" * 50_000 + "}", "a.jsonl", "nested too deeply in .*, line 1"),
    ('{"a": 1}\n{"a": ' + "1" * 6000 + "}", "a.jsonl", "at most 4300 digits.* line 2"),
    ('[{"a": ' + "1" * 6000 + "}]", "a.json", "at most 4300 digits"),
    ("not gzip", "a.csv.gz", "a readable file; found .*Not a gzipped file"),
    (gzip.compress(b"a,b\n1,2\n" * 50, mtime=0)[:-12], "a.csv.gz", "a readable file"),
    ("PAR1 no", "a.parquet", "a readable Parquet file"),
    ("ARROW1 no", "a.arrow", "a readable Arrow file"),
    ("", "a.parquet", "found an empty file"),
    ("", "a.arrow", "found an empty file"),
    (gzip.compress(b"a,b\n", mtime=0), "a.csv", r"packed by gzip.*as in \.csv\.gz"),
    (b"PK\x03\x04\xff", "a.csv", r"an Excel workbook.*\.xlsx"),
    (b"\xd0\xcf\x11\xe0\xa1", "a.tsv", "an old Excel workbook.*saved it anew"),
    ("text", "a.xls", r"one of the kinds \.csv, \.tsv, .*Save it"),
    ("text", "a.xlsx", "a readable workbook; found .*not a zip file"),
    ("text", "a.zip", "a readable file; found .*not a zip file"),
    ("text", "a.txt", "read by `headstart predict` alone"),
    ("text", "noending", "one of the kinds"),
]


@pytest.mark.parametrize(("content", "name", "message"), BROKEN, ids=lambda value: repr(value)[:24])
def test_damage_is_named(content: str | bytes, name: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, content, name)
    with pytest.raises(DataError, match=rf"(?s){message}") as caught:
        read_table(path)
    assert caught.value.fix


@pytest.mark.skipif(pd.__version__ < "3", reason="older pandas keeps any string")
def test_half_a_character_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="half of a surrogate pair"):
        read_table(write(tmp_path, r'{"a": "\ud800"}', "a.jsonl"))


def test_repeated_columns_of_parquet_are_named(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="'a' more than once"):
        read_table(tmp_path / "a.parquet")


def test_missing_file_suggests_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a\n1\n", "train.csv")
    for source in (tmp_path / "tran.csv", tmp_path / "train"):
        with pytest.raises(DataError, match=r"Did you mean train\.csv\?"):
            read_table(source)
    with pytest.raises(DataError, match="no folder"):
        read_table(tmp_path / "absent" / "train.csv")
    monkeypatch.chdir(tmp_path.parent)
    with pytest.raises(DataError, match=r"Did you mean train\.csv\?"):
        read_table(f"{tmp_path.name}/train")


FEATURES = datasets.Features(
    {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
)
SAVED = datasets.Dataset.from_list(ROWS, features=FEATURES)


def test_saved_data_set_gives_rows_and_class_names(tmp_path: Path) -> None:
    SAVED.select([2, 0]).save_to_disk(tmp_path / "one")
    rows = read_table(tmp_path / "one")
    assert plain(rows) == [ROWS[2], ROWS[0]]
    assert class_names(rows, "label") == ("bad", "good")
    assert class_names(rows, "text") is None
    assert class_names(pd.DataFrame({"label": [1]}), "label") is None


def test_a_saved_data_set_without_splits_has_none(tmp_path: Path) -> None:
    SAVED.save_to_disk(tmp_path / "one")
    assert plain(read_table(tmp_path / "one")) == ROWS
    assert plain(read_table(tmp_path / "one", split="test", or_all=True)) == ROWS
    with pytest.raises(DataError, match="one, which has no splits, and 'test' asked for"):
        read_table(tmp_path / "one", split="test")


def test_saved_splits_are_chosen_by_name(tmp_path: Path) -> None:
    splits = datasets.DatasetDict(train=SAVED, validation=SAVED.select([1]))
    splits.save_to_disk(tmp_path / "two")
    assert plain(read_table(tmp_path / "two", split="validation")) == [ROWS[1]]
    with pytest.raises(DataError, match="several: train, validation"):
        read_table(tmp_path / "two")
    with pytest.raises(DataError, match="Did you mean 'validation'"):
        read_table(tmp_path / "two", split="validaton")
    datasets.DatasetDict(train=SAVED).save_to_disk(tmp_path / "lone")
    assert plain(read_table(tmp_path / "lone")) == ROWS


def test_folders_that_hold_no_saved_data_set(tmp_path: Path) -> None:
    write(tmp_path, "a\n1\n", "train.csv")
    with pytest.raises(DataError, match=r"which holds train\.csv.*--data"):
        read_table(tmp_path)
    SAVED.save_to_disk(tmp_path / "one")
    for file in (tmp_path / "one").glob("*.arrow"):
        file.write_bytes(b"cut")
    with pytest.raises(DataError, match="readable folder saved by datasets"):
        read_table(tmp_path / "one")


def test_hub_name_is_split_into_path_and_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    def load(path: str, name: str | None, *, split: str | None) -> datasets.Dataset:
        calls.append((path, name, split))
        return SAVED

    monkeypatch.setattr(datasets, "load_dataset", load)
    rows = read_table("owner/some.set:wsc.fixed", split="train")
    assert plain(rows) == ROWS
    assert class_names(rows, "label") == ("bad", "good")
    assert plain(read_table("imdb")) == ROWS
    assert calls == [("owner/some.set", "wsc.fixed", "train"), ("imdb", None, None)]


def test_unreachable_hub_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*args: object, **options: object) -> None:
        raise ConnectionError("Couldn't reach 'owner/rows' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(DataError, match=r"owner/rows.*Couldn't reach.*offline, give files"):
        read_table("owner/rows", split="train")


def test_reading_needs_no_torch(tmp_path: Path) -> None:
    SAVED.save_to_disk(tmp_path / "one")
    parquet.write_table(TABLE, tmp_path / "a.parquet")
    code = (
        "import sys\nfrom headstart.data.tables.sources import read_table\n"
        f"for name in ('one', 'a.parquet'): read_table({str(tmp_path)!r} + '/' + name)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.parametrize("read", [read_table, lambda source: next(iter(TableParts(source)))])
def test_the_home_folder_of_an_unknown_user_is_a_file_that_is_missing(read: Any) -> None:
    with pytest.raises(DataError, match="nobody-of-that-name"):
        read("~nobody-of-that-name/x.csv")
