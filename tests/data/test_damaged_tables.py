"""Files of rows, damaged at random: each is read, or refused in a clear error."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import zipfile
from pathlib import Path

import datasets
import pandas as pd
import pyarrow as pa
import pytest

from headstart.data.tables.sources import read_table
from headstart.data.tables.stream import TableParts
from headstart.errors import HeadstartError

ROWS = pd.DataFrame({
    "text": [f"film {n} «é»" for n in range(30)],
    "label": [n % 2 for n in range(30)],
    "n": [n / 3 for n in range(30)],
})  # fmt: skip
CSV = ROWS.to_csv(index=False).encode()
PACKED = {
    "x.csv.gz": gzip.compress,
    "x.csv.bz2": bz2.compress,
    "x.csv.xz": lzma.compress,
    "x.csv.zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}
PLAIN = ("csv", "tsv", "jsonl", "json", "parquet", "feather", "xlsx", "zip", "arrow")
NAMES = (*PACKED, *(f"x.{ending}" for ending in PLAIN))
ODD = (b"[" * 3000, b"{" * 3000, b"9" * 6000, b"\0", b"\xff\xfe", b'"', b"\xff" * 8, b"1e999")
MUTANTS = 40
"""Of each kind of file."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the rows in every form."""
    folder = tmp_path_factory.mktemp("whole")
    for name, pack in PACKED.items():
        (folder / name).write_bytes(pack(CSV))
    (folder / "x.csv").write_bytes(CSV)
    ROWS.to_csv(folder / "x.tsv", index=False, sep="\t")
    ROWS.to_json(folder / "x.jsonl", orient="records", lines=True)
    ROWS.to_json(folder / "x.json", orient="records")
    ROWS.to_feather(folder / "x.feather")
    ROWS.to_excel(folder / "x.xlsx", index=False)
    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.csv", CSV)
    names = datasets.ClassLabel(names=["bad", "good"])
    rows = datasets.Dataset.from_pandas(ROWS).cast_column("label", names)
    rows.to_parquet(folder / "x.parquet")
    rows.save_to_disk(folder / "saved")
    (folder / "x.arrow").write_bytes(next((folder / "saved").glob("*.arrow")).read_bytes())
    return folder


def damaged(data: bytes, draw: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(draw.choice([1, 1, 2, 5, 20])):
        place, kind = draw.randrange(len(made) + 1), draw.randrange(10)
        if kind < 5 and made:
            made[place % len(made)] = draw.randrange(256)
        elif kind == 5:
            del made[place : place + draw.randrange(1, 50)]
        elif kind == 6:
            made[place:place] = draw.randbytes(draw.randrange(1, 20))
        elif kind == 7:
            del made[place:]
        else:
            made[place : place + draw.choice([0, 8])] = draw.choice(ODD)
    return bytes(made)


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_read_or_refused(name: str, whole: Path, tmp_path: Path) -> None:
    draw, data = random.Random(name), (whole / name).read_bytes()  # noqa: S311
    assert len(read_table(whole / name)) == len(ROWS)
    refused = 0
    for _ in range(MUTANTS):
        (tmp_path / name).write_bytes(damaged(data, draw))
        for read in (read_table, lambda path: list(TableParts(path, size=7))):
            try:
                read(tmp_path / name)
            except HeadstartError as error:
                refused += bool(error.fix)
    assert refused > MUTANTS / 8


@pytest.mark.parametrize("name", ["state.json", "dataset_info.json"])
def test_a_damaged_folder_of_datasets_is_read_or_refused(name: str, whole: Path) -> None:
    file, draw = whole / "saved" / name, random.Random(name)  # noqa: S311
    data, refused = file.read_bytes(), 0
    for _ in range(MUTANTS):
        file.write_bytes(damaged(data, draw))
        try:
            read_table(whole / "saved")
        except HeadstartError as error:
            refused += bool(error.fix)
    file.write_bytes(data)
    assert refused > MUTANTS / 4
