"""Rows in parts are the rows of the whole, and what is wrong is said in the same words."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import datasets
import pandas as pd
import pytest

from headstart.data._faults import notes
from headstart.data.tables import stream
from headstart.data.tables.classnames import class_names, read_named
from headstart.data.tables.sources import read_table
from headstart.data.tables.stream import TableParts
from headstart.errors import DataError

CSV = "text,label\n" + "".join(f'"film {n}, {"x" * (n % 5)}\nnext line",{n}\n' for n in range(23))
TSV = "text\tlabel\n" + "".join(f'"film {n}"\ta "stray quote {n}\n' for n in range(23))
QUOTED_TSV = "text\tlabel\n" + "".join(f'"film\t{n}"\t{n}\r\n' for n in range(23))
ROWS = [{"text": f"film\u2028{n}", "label": n} for n in range(23)]
JSON = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
MIXED = "".join(
    json.dumps({"a": n, "b": n / 2 if n > 9 else n, "c": n or None}) + "\n\n" for n in range(23)
)
LATE_KEY = JSON + '{"text": "film", "late": true}\n'
GOOD = {
    "quoted.csv": CSV,
    "mark.csv": "\ufeff" + CSV,
    "plain.tsv": TSV,
    "quoted.tsv": QUOTED_TSV,
    "lines.jsonl": JSON,
    "mixed.jsonl": MIXED,
    "late.jsonl": LATE_KEY,
    "array.json": json.dumps(ROWS),
}


def joined(path: Path, size: int = 5) -> pd.DataFrame:
    """Read a file in parts and put them together."""
    return pd.concat([frame for _, frame in TableParts(path, size=size)], ignore_index=True)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("packed", [False, True])
def test_parts_together_are_the_whole(tmp_path: Path, name: str, packed: bool) -> None:
    path = tmp_path / (name + ".gz" * packed)
    data = GOOD[name].encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    whole, found = read_table(path), joined(path)
    assert list(found.columns) == list(whole.columns)
    assert found.astype(object).map(repr).equals(whole.astype(object).map(repr))


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-16-le"])
def test_parts_in_another_encoding_and_with_another_separator(
    tmp_path: Path, encoding: str
) -> None:
    text = "text;label\n" + "".join(f'"café {n}; bon";{n}\n' for n in range(12))
    (tmp_path / "rows.csv").write_bytes(text.encode(encoding))
    parts = list(TableParts(tmp_path / "rows.csv", size=5, encoding=encoding))
    assert [notes(frame) for _, frame in parts] == [
        ["rows.csv is separated by semicolons, and was read so."]
    ] * 3
    found = pd.concat([frame for _, frame in parts], ignore_index=True)
    whole = read_table(tmp_path / "rows.csv", encoding=encoding)
    pd.testing.assert_frame_equal(found, whole)
    assert found["text"][11] == "café 11; bon"


def test_class_names_are_those_of_the_file_in_every_part(tmp_path: Path) -> None:
    features = datasets.Features(
        text=datasets.Value("string"), label=datasets.ClassLabel(names=["pos", "neg"])
    )
    rows = {"text": list("abcde"), "label": [0, 1, 1, 0, -1]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "a.parquet")
    parts = [frame for _, frame in TableParts(tmp_path / "a.parquet", size=2)]
    assert [class_names(frame, "label") for frame in parts] == [("pos", "neg")] * 3
    named = [name for frame in parts for name in read_named(frame, "label")]
    assert named == ["pos", "neg", "neg", "pos", None]


def test_parquet_in_parts(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": [f"film {n}" for n in range(23)], "n": range(23)})
    frame.to_parquet(tmp_path / "rows.parquet")
    pd.testing.assert_frame_equal(joined(tmp_path / "rows.parquet"), frame)


def test_places_and_sizes(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(CSV)
    parts = TableParts(tmp_path / "rows.csv", size=10)
    for _ in range(2):  # and again, from the start
        assert [(before, len(frame)) for before, frame in parts] == [(0, 10), (10, 10), (20, 3)]
        assert parts.rows == 23


@pytest.mark.parametrize("name", ["quoted.csv", "plain.tsv", "lines.jsonl"])
def test_a_good_file_is_never_read_whole(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "read_table", None)
    (tmp_path / name).write_text(GOOD[name])
    assert len(joined(tmp_path / name)) == 23


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("uneven.csv", CSV + "one field\n"),
        ("open.csv", CSV + '"open,1\n'),
        ("twice.csv", "a,a\n1,2\n"),
        ("uneven-semicolons.csv", "a;b\n1;2\n3\n"),
        ("deep.jsonl", JSON + '{"text": ' + "[" * 50_000 + "\n"),
        ("digits.jsonl", JSON + '{"text": ' + "1" * 6000 + "}\n"),
        ("header.csv", "a,b\n"),
        ("empty.csv", ""),
        ("blank.csv", "\n \n"),
        ("latin.csv", CSV.encode() + b"caf\xe9,1\n"),
        ("nul.csv", CSV + "a\0b,1\n"),
        ("uneven.tsv", TSV + "one field\n"),
        ("broken.jsonl", JSON + '{"text": \n'),
        ("number.jsonl", JSON + "3\n"),
        ("surrogate.jsonl", JSON + '{"text": "\\ud83d", "label": 1}\n'),
        ("cut.csv.gz", gzip.compress(CSV.encode())[:-12]),
        ("cut.parquet", b"PAR1 and no more"),
    ],
)
def test_faults_are_said_as_for_the_whole(tmp_path: Path, name: str, content: str | bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as whole:
        read_table(path)
    with pytest.raises(DataError) as parts:
        joined(path)
    assert str(parts.value) == str(whole.value)
