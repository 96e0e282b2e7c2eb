"""Windows: nothing of a long text is lost, each knows its row, and all of a row weigh as one."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from transformers import CanineTokenizer

from headstart.data.rows import Rows
from headstart.data.tokens.encode import Encoded, encode
from headstart.data.tokens.lengths import decide_overlap
from headstart.data.tokens.windows import Windows, mean_of_windows, of_rows, window_weights
from headstart.errors import ConfigError, ModelError

LETTERS = ["a", "b", "c", "d", "e", "good", "bad", "*", "#", ".", ","]
LONG = " ".join(LETTERS[i % 11] for i in range(40))
SINGLES = Rows([(("a b c", None),), ((LONG, None),), (("a", None),)], np.array([0, 1, 0]))
PAIRS = Rows([(("a b", LONG),), ((LONG, "a b"),), (("a", "b"),), ((LONG, LONG),)])


def windows_of(encoded: Encoded, row: int) -> list[list[int]]:
    assert encoded.row_of is not None
    ids, starts = encoded.features["input_ids"], encoded.starts
    return [ids[starts[i] : starts[i + 1]].tolist() for i in np.flatnonzero(encoded.row_of == row)]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    ("rows", "row", "how"), [(SINGLES, 1, True), (PAIRS, 0, "only_second")], ids=["single", "pair"]
)
def test_windows_are_those_of_transformers(
    make_tokenizer: Callable[..., Any], rows: Rows, row: int, how: Any, side: str
) -> None:
    tokenizer = make_tokenizer(truncation_side=side)
    encoded = encode(rows, tokenizer, 12, 2)
    expected = tokenizer(
        *(text for text in rows.inputs[row][0] if text is not None),
        truncation=how, max_length=12, stride=2, return_overflowing_tokens=True,
    )  # fmt: skip
    assert len(expected["input_ids"]) > 3
    assert windows_of(encoded, row) == expected["input_ids"]
    types = encoded.features["token_type_ids"]
    assert encoded.row_of is not None
    starts = encoded.starts[:-1][encoded.row_of == row]
    flat = [t for part in expected["token_type_ids"] for t in part]
    assert types[starts[0] : starts[0] + len(flat)].tolist() == flat


def test_nothing_is_lost_and_every_window_knows_its_row(tokenizer: Any) -> None:
    encoded = encode(SINGLES, tokenizer, 12, 3)
    parts = windows_of(encoded, 1)
    texts = [part[1:-1] for part in parts]  # without special tokens
    assert all(left[-3:] == right[:3] for left, right in pairwise(texts))
    assert texts[0] + [t for text in texts[1:] for t in text[3:]] == tokenizer.encode(
        LONG, add_special_tokens=False
    )
    assert encoded.lengths.max() == 12
    assert encoded.n_rows == 3
    assert encoded.n_parted == 1
    assert encoded.n_cut == 0
    assert len(encoded) == len(parts) + 2
    assert encoded.labels is not None
    assert encoded.labels.tolist() == [0, *[1] * len(parts), 0]
    assert encoded.row_labels is not None
    assert encoded.row_labels.tolist() == [0, 1, 0]


def test_a_part_of_the_rows_has_all_their_windows(tokenizer: Any) -> None:
    encoded = encode(SINGLES, tokenizer, 12, 3)
    part = encoded.take(np.array([2, 1]))
    assert part.row_of is not None
    assert part.row_of.tolist() == [0, *[1] * (len(part) - 1)]
    assert windows_of(part, 1) == windows_of(encoded, 1)
    assert windows_of(part, 0) == windows_of(encoded, 2)
    assert part.row_labels is not None
    assert part.row_labels.tolist() == [0, 1]


def test_rows_that_fit_are_as_without_windows(tokenizer: Any) -> None:
    whole, parted = (encode(SINGLES, tokenizer, 64, overlap) for overlap in (None, 5))
    assert parted.row_of is None
    assert whole.starts.tolist() == parted.starts.tolist()
    assert all((whole.features[n] == parted.features[n]).all() for n in whole.features)


def test_of_a_pair_the_second_text_moves_and_a_long_first_one_is_cut(tokenizer: Any) -> None:
    encoded = encode(PAIRS, tokenizer, 13, 2)
    first = tokenizer.encode(LONG, add_special_tokens=False)
    begins = [part[1 : part.index(3)] for part in windows_of(encoded, 3)]
    assert len(begins) > 5
    assert all(begin == first[:5] for begin in begins)
    (only,) = windows_of(encoded, 1)
    assert len(only) == 13
    assert only[1:9] == first[:8]
    assert encoded.lengths.max() == 13
    assert encoded.n_parted == 2
    assert encoded.n_cut == 2


def test_all_windows_of_a_row_weigh_as_one_row_and_are_averaged() -> None:
    row_of = np.array([0, 1, 1, 1, 2, 2])
    weights = window_weights(row_of)
    assert weights.mean() == pytest.approx(1)
    assert [weights[row_of == row].sum() for row in range(3)] == pytest.approx([2, 2, 2])
    values = np.array([[1, 0], [1, 2], [2, 2], [3, 2], [0, 1], [1, 1]], np.float32)
    means = mean_of_windows(values, row_of)
    assert means.dtype == np.float32
    assert means.tolist() == [[1, 0], [2, 2], [0.5, 1]]
    assert of_rows(np.array([5, 7, 7, 7, 9, 9]), row_of).tolist() == [5, 7, 9]
    assert of_rows(row_of, None) is row_of


def test_the_overlap_has_bounds(tokenizer: Any) -> None:
    assert decide_overlap(tokenizer, 42, None, pair=False) == 10
    assert decide_overlap(tokenizer, 42, 20, pair=False) == 20
    assert decide_overlap(tokenizer, 43, 10, pair=True) == 10
    assert decide_overlap(tokenizer, 42, 0, pair=False) == 0
    with pytest.raises(ConfigError, match="share at most 20") as error:
        decide_overlap(tokenizer, 42, 21, pair=False)
    assert "--window-overlap 20" in error.value.fix
    with pytest.raises(ConfigError, match="of a pair"):
        decide_overlap(tokenizer, 43, 11, pair=True)
    with pytest.raises(ModelError, match="CanineTokenizer"):
        decide_overlap(CanineTokenizer(), 42, None, pair=False)


@pytest.mark.parametrize("length", range(5, 12))
@pytest.mark.parametrize("pair", [True, False])
def test_the_largest_overlap_leaves_room_even_in_tiny_windows(
    tokenizer: Any, length: int, pair: bool
) -> None:
    room = length - tokenizer.num_special_tokens_to_add(pair=pair)
    overlap = room // (4 if pair else 2)
    rows = PAIRS if pair else SINGLES
    encoded = encode(rows, tokenizer, length, decide_overlap(tokenizer, length, overlap, pair=pair))
    assert encoded.lengths.max() <= length
    assert encoded.n_rows == len(rows)


@pytest.mark.parametrize("damage", [[], "windows", {"length": 12}, {"length": 2, "overlap": -1}])
def test_what_a_damaged_model_tells_is_refused(damage: Any) -> None:
    assert Windows.read(None, "x") is None
    assert Windows.read(Windows(12, 3).to_dict(), "x") == Windows(12, 3)
    with pytest.raises(ModelError, match=r"long_texts in config\.json"):
        Windows.read(damage, "x")
