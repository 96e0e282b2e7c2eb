"""What has been tokenised once is read back, and only if it is really the same."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import fields, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny
from alike import ALL
from headstart.data.rows import Rows
from headstart.data.tokens import tokencache
from headstart.data.tokens.encode import Encoded, encode
from headstart.data.tokens.tokencache import cache_folder, cache_key, encode_cached

TEXTS = ["a good film", "it was not a bad movie at all", "", "poor\ud83d plot é 😀"]
ONE = Rows([((text, None),) for text in TEXTS[:3]], np.array([0, 1, 0]))
NOWHERE = ((0, 0, 0), (0, 0, 0))
CASES = {
    "one text": ONE,
    "pairs": Rows([((text, "the story"),) for text in TEXTS[:3]], np.array([0.5, 1.0, 2.0])),
    "choices": Rows([((text, "one"), (text, "two")) for text in TEXTS[:3]], choices=2),
    "targets": replace(ONE, spans=[((0, 2, 6), (0, 0, 1)), ((0, 0, 2), (0, 23, 29)), NOWHERE]),
    "no rows": Rows([]),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    return tmp_path / "tokens"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with each table that is really tokenised."""
    made: list[int] = []

    def counted(rows: Rows, *rest: Any) -> Encoded:
        made.append(len(rows))
        return encode(rows, *rest)

    monkeypatch.setattr(tokencache, "encode", counted)
    return made


def equal(left: Any, right: Any) -> bool:
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right)
    return bool(left == right)


def same(left: Encoded, right: Encoded) -> bool:
    return all(equal(getattr(left, f.name), getattr(right, f.name)) for f in fields(Encoded))


@pytest.mark.parametrize("case", CASES)
def test_what_is_read_back_is_what_was_tokenised(case: str, folder: Path, calls: list[int]) -> None:
    rows, tokenizer = CASES[case], tiny.tokenizer()
    expected = encode(rows, tokenizer, 8)
    for _ in range(3):
        assert same(encode_cached(rows, tokenizer, 8), expected)
    assert calls == [len(rows)]
    assert [path.suffix for path in folder.iterdir()] == [".npz"]


def test_windows_are_read_back_and_count_in_the_name(folder: Path, calls: list[int]) -> None:
    tokenizer = tiny.tokenizer()
    expected = encode(ONE, tokenizer, 6, 1)
    assert expected.row_of is not None
    for _ in range(3):
        assert same(encode_cached(ONE, tokenizer, 6, 1), expected)
    assert calls == [3]
    names = {cache_key(ONE, tokenizer, 6, overlap) for overlap in (None, 0, 1, 2)}
    assert len(names) == 4
    assert cache_key(ONE, tokenizer, 6) in names


def test_labels_do_not_count_but_all_else_does(folder: Path, calls: list[int]) -> None:
    encode_cached(ONE, tiny.tokenizer(), 8)
    found = encode_cached(replace(ONE, labels=np.array([1, 1, 1])), tiny.tokenizer(), 8)
    assert found.labels is not None and found.labels.tolist() == [1, 1, 1]
    assert len(calls) == 1
    changed = Rows([*ONE.inputs[:2], (("else", None),)], ONE.labels)
    right = tiny.tokenizer()
    right.padding_side = "left"
    front = tiny.tokenizer()
    front.truncation_side = "left"
    grown = tiny.tokenizer()
    grown.add_tokens(["zebra"])
    others = [
        (changed, tiny.tokenizer(), 8),
        (ONE, tiny.tokenizer(), 9),
        (ONE, tiny.tokenizer("roberta"), 8),
        (ONE, right, 8),
        (ONE, front, 8),
        (ONE, grown, 8),
        (CASES["targets"], tiny.tokenizer(), 8),
    ]
    for number, (rows, tokenizer, length) in enumerate(others, 2):
        assert same(encode_cached(rows, tokenizer, length), encode(rows, tokenizer, length))
        assert len(calls) == number
    assert len(list(folder.iterdir())) == 1 + len(others)


def test_an_earlier_call_of_the_tokenizer_does_not_count() -> None:
    tokenizer = tiny.tokenizer()
    before = cache_key(ONE, tokenizer, 8)
    tokenizer("a film", truncation=True, max_length=4, padding="max_length")
    assert cache_key(ONE, tokenizer, 8) == before
    # Half of a surrogate pair, as broken JSON leaves it, is no text that can be digested as UTF-8.
    assert cache_key(Rows([((TEXTS[3], None),)]), tokenizer, 8) != before


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda whole: whole[: len(whole) // 2],
    "empty": lambda _: b"",
    "flipped": lambda whole: whole[:200] + bytes([whole[200] ^ 1]) + whole[201:],
    "another kind": lambda _: b"not a table of numbers",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_replaced(damage: str, folder: Path, calls: list[int]) -> None:
    tokenizer = tiny.tokenizer()
    encode_cached(ONE, tokenizer, 8)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(DAMAGE[damage](whole))
    assert same(encode_cached(ONE, tokenizer, 8), encode(ONE, tokenizer, 8))
    assert len(calls) == 2
    assert encode_cached(ONE, tokenizer, 8) and len(calls) == 2


def test_no_change_of_a_byte_is_believed(folder: Path, calls: list[int]) -> None:
    tokenizer, expected = tiny.tokenizer(), encode(CASES["targets"], tiny.tokenizer(), 8)
    encode_cached(CASES["targets"], tokenizer, 8)
    (path,) = folder.iterdir()
    whole, draw = path.read_bytes(), random.Random(0)  # noqa: S311  it draws places
    changes = [*range(40), *(draw.randrange(len(whole)) for _ in range(260))]
    for number, place in enumerate(changes, 2):
        changed = bytes([whole[place] ^ 1 << number % 8])
        path.write_bytes(whole[:place] + changed + whole[place + 1 :])
        assert same(encode_cached(CASES["targets"], tokenizer, 8), expected)
        assert len(calls) == number, f"byte {place} was believed"
        assert path.read_bytes() == whole


def test_the_file_of_other_rows_is_not_believed(folder: Path, calls: list[int]) -> None:
    tokenizer = tiny.tokenizer()
    encode_cached(ONE, tokenizer, 8)
    (path,) = folder.iterdir()
    encode_cached(CASES["pairs"], tokenizer, 8)
    other = folder / f"{cache_key(CASES['pairs'], tokenizer, 8)}.npz"
    other.write_bytes(path.read_bytes())
    assert same(encode_cached(CASES["pairs"], tokenizer, 8), encode(CASES["pairs"], tokenizer, 8))
    assert len(calls) == 3


def test_a_file_of_another_form_is_replaced(folder: Path, calls: list[int]) -> None:
    encode_cached(ONE, tiny.tokenizer(), 8)
    (path,) = folder.iterdir()
    np.savez(path, starts=np.arange(3))
    encode_cached(ONE, tiny.tokenizer(), 8)
    assert len(calls) == 2


def test_the_longest_unused_files_make_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tiny.tokenizer()
    paths = []
    for length in (8, 9, 10):
        encode_cached(ONE, tokenizer, length)
        paths.append(folder / f"{cache_key(ONE, tokenizer, length)}.npz")
        os.utime(paths[-1], (length, length))
    encode_cached(ONE, tokenizer, 8)  # a hit is a use
    monkeypatch.setattr(tokencache, "LARGEST", 7 * paths[0].stat().st_size // 2)
    encode_cached(ONE, tokenizer, 11)
    assert [path.exists() for path in paths] == [True, False, True]


@pytest.mark.parametrize("place", ["", "/dev/null/nowhere"])
def test_without_a_folder_rows_are_tokenised_all_the_same(
    place: str, monkeypatch: pytest.MonkeyPatch, calls: list[int]
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", place)
    for _ in range(2):
        assert len(encode_cached(ONE, tiny.tokenizer(), 8)) == 3
    assert len(calls) == 2


def test_the_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADSTART_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/headstart/tokens")


def _repeat(place: str) -> int:
    os.environ["HEADSTART_CACHE"] = place
    tokenizer = tiny.tokenizer()
    expected = encode(ONE, tokenizer, 8)
    for round_ in range(20):
        assert same(encode_cached(ONE, tokenizer, 8), expected)
        if round_ % 5 == 0:
            for path in (Path(place) / "tokens").glob("*.npz"):
                path.unlink(missing_ok=True)
    return 1


@ALL
def test_processes_share_the_folder(folder: Path) -> None:
    with get_context("spawn").Pool(2) as pool:
        assert sum(pool.map(_repeat, [str(folder.parent)] * 2)) == 2
    assert not list(folder.glob("*.new"))


def test_the_cache_may_be_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HEADSTART_CACHE", "~/kept")
    assert cache_folder() == tmp_path / "kept" / "tokens"
