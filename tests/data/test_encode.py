from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import CanineTokenizer

from headstart.data.rows import Rows
from headstart.data.tokens import encode as module
from headstart.data.tokens.encode import encode
from headstart.data.tokens.lengths import resolve_max_length
from headstart.errors import ConfigError, ModelError

SINGLES = [(("a b c", None),), (("good playing.", None),), (("a", None),)]
PAIRS = [(("a b c d e", "a b"),), (("a", "a b c d e good bad"),), (("a", "b"),)]
CHOICES = [(("a b", "c"), ("a b", "c d")), (("a", "b"), ("a", "good bad playing"))]


def texts_of(batch: dict[str, torch.Tensor], tokenizer: Any) -> list[str]:
    return tokenizer.batch_decode(batch["input_ids"].flatten(0, -2), skip_special_tokens=True)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("texts", [SINGLES, PAIRS], ids=["single", "pair"])
@pytest.mark.parametrize("limit", [64, 7])
def test_batches_equal_those_of_transformers(
    make_tokenizer: Callable[..., Any], texts: Any, side: str, limit: int
) -> None:
    tokenizer = make_tokenizer(padding_side=side)
    encoded = encode(Rows(texts), tokenizer, limit)
    firsts, seconds = zip(*(pair for (pair,) in texts), strict=True)
    order = [2, 0, 1]
    expected = tokenizer(
        [firsts[i] for i in order],
        None if seconds[0] is None else [seconds[i] for i in order],
        padding=True,
        truncation="longest_first",
        max_length=limit,
        return_tensors="pt",
    )
    batch = encoded.collate(order)
    assert batch.keys() == expected.keys()
    for name, tensor in batch.items():
        assert tensor.dtype == torch.int64
        assert torch.equal(tensor, expected[name]), name


def test_lengths_and_truncation_are_exact(tokenizer: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoded = encode(Rows(PAIRS), tokenizer, 7)
    assert encoded.lengths.tolist() == [7, 7, 5]
    assert encoded.truncated.tolist() == [True, True, False]
    assert len(encoded) == 3
    # Exactly as long as allowed is not too long.
    assert encode(Rows(PAIRS), tokenizer, 10).truncated.tolist() == [False, True, False]
    assert encode(Rows(PAIRS), tokenizer, 11).truncated.tolist() == [False, False, False]


def test_longer_text_of_a_pair_is_cut(tokenizer: Any) -> None:
    batch = encode(Rows(PAIRS), tokenizer, 7).collate([0, 1])
    assert texts_of(batch, tokenizer) == ["a b a b", "a a b c"]


def test_more_rows_than_are_tokenised_at_once(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = encode(Rows(PAIRS * 5), tokenizer, 7)
    monkeypatch.setattr(module, "_CHUNK", 4)
    parts = encode(Rows(PAIRS * 5), tokenizer, 7)
    assert np.array_equal(whole.features["input_ids"], parts.features["input_ids"])
    assert np.array_equal(whole.starts, parts.starts)
    assert np.array_equal(whole.truncated, parts.truncated)


def test_choices_have_a_dimension_of_their_own(tokenizer: Any) -> None:
    encoded = encode(Rows(CHOICES, np.array([1, 0]), choices=2), tokenizer, 64)
    assert encoded.lengths.tolist() == [7, 8]
    batch = encoded.collate([1, 0])
    assert {name: tuple(t.shape) for name, t in batch.items()} == {
        "input_ids": (2, 2, 8),
        "token_type_ids": (2, 2, 8),
        "attention_mask": (2, 2, 8),
        "labels": (2,),
    }
    assert texts_of(batch, tokenizer) == ["a b", "a good bad play ##ing", "a b c", "a b c d"]
    assert batch["attention_mask"].sum(-1).tolist() == [[5, 8], [6, 7]]
    assert batch["labels"].tolist() == [0, 1]


def test_one_choice_that_is_cut_makes_a_cut_row(tokenizer: Any) -> None:
    encoded = encode(Rows(CHOICES, choices=2), tokenizer, 7)
    assert encoded.truncated.tolist() == [False, True]
    assert encoded.lengths.tolist() == [7, 7]


@pytest.mark.parametrize(
    ("labels", "kind"),
    [(np.array([2, 0, 1]), torch.int64), (np.array([0.5, 1.5, 2.5]), torch.float32)],
)
def test_labels(tokenizer: Any, labels: Any, kind: torch.dtype) -> None:
    batch = encode(Rows(SINGLES, labels), tokenizer, 64).collate(np.array([2, 0]))
    assert batch["labels"].dtype == kind
    assert batch["labels"].tolist() == labels[[2, 0]].tolist()
    assert "labels" not in encode(Rows(SINGLES), tokenizer, 64).collate([0])


@pytest.mark.parametrize(
    "names", [["input_ids"], ["input_ids", "attention_mask"], ["input_ids", "token_type_ids"]]
)
def test_inputs_are_those_that_the_tokenizer_names(
    make_tokenizer: Callable[..., Any], names: list[str]
) -> None:
    tokenizer = make_tokenizer(model_input_names=names)
    assert sorted(encode(Rows(PAIRS), tokenizer, 64).collate([0, 1])) == sorted(names)


SPANS = Rows(
    [(("a playing good b", "b bad played"),), (("good", "a b c bad"),)],
    spans=[((0, 2, 9), (1, 2, 5)), ((0, 0, 4), (1, 6, 9))],
)


@pytest.mark.parametrize("side", ["left", "right"])
def test_span_masks_stand_at_the_tokens(make_tokenizer: Callable[..., Any], side: str) -> None:
    tokenizer = make_tokenizer(padding_side=side)
    encoded = encode(SPANS, tokenizer, 64)
    batch = encoded.collate([1, 0])
    masks = batch["span_masks"]
    assert masks.dtype == torch.float32
    assert masks.shape == (2, 2, batch["input_ids"].shape[1])
    marked = [
        [tokenizer.decode(batch["input_ids"][row][mask.bool()]) for mask in masks[row]]
        for row in range(2)
    ]
    assert marked == [["good", "bad"], ["play ##ing", "bad"]]
    assert encoded.lost_spans == 0


def test_tokens_beside_a_target_are_not_of_it(tokenizer: Any) -> None:
    rows = Rows([(("a playing.", None),)], spans=[((0, 6, 9), (0, 2, 6))])  # "ing", "play"
    masks = encode(rows, tokenizer, 64).collate([0])["span_masks"]
    assert masks[0].tolist() == [[0, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0]]


def test_a_target_that_is_cut_off_is_counted(tokenizer: Any) -> None:
    encoded = encode(SPANS, tokenizer, 7)
    assert encoded.truncated.tolist() == [True, True]
    assert encoded.lost_spans == 1
    masks = encoded.collate([0, 1])["span_masks"]
    assert masks.sum(-1).tolist() == [[1.0, 1.0], [1.0, 0.0]]


def test_targets_need_a_tokenizer_that_knows_places() -> None:
    with pytest.raises(ModelError, match="a fast tokenizer"):
        encode(SPANS, CanineTokenizer(), 64)


def test_end_token_pads_where_there_is_no_padding_token(
    make_tokenizer: Callable[..., Any],
) -> None:
    tokenizer = make_tokenizer(pad_token=None, eos_token="[SEP]")  # noqa: S106  no secret
    batch = encode(Rows(SINGLES), tokenizer, 64).collate([0, 2])
    assert batch["input_ids"][1, -1] == tokenizer.eos_token_id
    assert batch["attention_mask"][1].tolist() == [1, 1, 1, 0, 0]
    with pytest.raises(ModelError, match="padding token"):
        encode(Rows(SINGLES), make_tokenizer(pad_token=None), 64)


@pytest.mark.parametrize(
    ("own", "positions", "asked", "length"),
    [
        (512, 512, None, 512),
        (512, 128, None, 128),
        (64, 512, None, 64),
        (int(1e30), 300, None, 300),
        (512, 512, 100, 100),
        (512, None, 512, 512),
        (int(1e30), None, None, 512),
        (int(1e30), None, 9000, 9000),
    ],
)
def test_largest_length(
    make_tokenizer: Callable[..., Any],
    own: int,
    positions: int | None,
    asked: int | None,
    length: int,
) -> None:
    assert resolve_max_length(make_tokenizer(model_max_length=own), positions, asked) == length


def test_a_default_length_gives_way_and_is_no_demand(tokenizer: Any) -> None:
    assert resolve_max_length(tokenizer, 512, default=256) == 64
    assert resolve_max_length(tokenizer, 512, default=32) == 32
    assert resolve_max_length(tokenizer, 512, 48, default=32) == 48


def test_a_tokenizer_in_python_will_do() -> None:
    tokenizer = CanineTokenizer()
    assert not tokenizer.is_fast
    encoded = encode(Rows([(("abcdef", "ab"),), (("a", "b"),)]), tokenizer, 9)
    assert encoded.truncated.tolist() == [True, False]
    assert encoded.lengths.tolist() == [9, 5]
    assert encoded.collate([0, 1])["attention_mask"].sum(1).tolist() == [9, 5]


def test_impossible_lengths(tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match=r"at most 64 \(the tokenizer's model_max_length\)"):
        resolve_max_length(tokenizer, 512, 65)
    with pytest.raises(ConfigError, match=r"at most 32 \(the model's positions\)"):
        resolve_max_length(tokenizer, 32, 65)
    with pytest.raises(ConfigError, match="room for special tokens and a pair: 5 tokens"):
        resolve_max_length(tokenizer, 512, 4)


def test_a_batch_is_a_little_wider_than_its_longest_row_but_not_than_all(tokenizer: Any) -> None:
    rows = [((" ".join(["good"] * n), None),) for n in (15, 17, 21)]
    encoded = encode(Rows(rows), tokenizer, 64)
    assert encoded.lengths.tolist() == [17, 19, 23]
    assert encoded.collate([0, 1])["attention_mask"].sum(1).tolist() == [17, 19]
    assert encoded.collate([0, 1])["input_ids"].shape == (2, 20)
    assert encoded.padded([1])
    assert encoded.collate([2])["input_ids"].shape == (1, 23)
    assert not encoded.padded([2])
