"""Words to tokens: which token a word's label belongs to, in whole rows, cut ones and windows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tiny
from headstart.data.ragged import joined, ragged
from headstart.data.rows import Rows
from headstart.data.tokens.encode_words import WordExamples, encode_words, split_batch
from headstart.data.tokens.words import Words

SENTENCES = [
    ["a", "wonderful", "film"],
    ["unbelievable", "acting", "in", "the", "movie", "xyzzy"],
    ["plot"],
    ["no", "\u200d", "story", "Don't"],
]


def made(sentences: list[list[str]], length: int = 64, overlap: int | None = None) -> WordExamples:
    rows = Rows(
        [Words.of_list(words) for words in sentences],
        ragged(range(10 * i, 10 * i + len(words)) for i, words in enumerate(sentences)),
    )
    return encode_words(rows, tiny.tokenizer(), length, overlap)


def places(examples: WordExamples, batch: dict[str, torch.Tensor]) -> dict[int, str]:
    """Return by label the token that it stands at."""
    ids = batch["input_ids"].flatten()[batch["word_places"]]
    tokens = tiny.tokenizer().convert_ids_to_tokens(ids.tolist())
    return dict(zip(batch["labels"].tolist(), tokens, strict=True))


def test_a_label_stands_at_the_first_token_of_its_word_as_word_ids_tells() -> None:
    examples, tokenizer = made(SENTENCES), tiny.tokenizer()
    batch = examples.collate(np.arange(len(SENTENCES)))
    width = batch["input_ids"].shape[1]
    found = {
        int(label): int(at) for label, at in zip(batch["labels"], batch["word_places"], strict=True)
    }
    for row, words in enumerate(SENTENCES):
        told: Any = tokenizer([words], is_split_into_words=True)
        ids = told.word_ids(0)
        for word in range(len(words)):
            if word in ids:
                assert found.pop(10 * row + word) == row * width + ids.index(word)
    assert not found


def test_what_a_row_would_take_whole_is_known() -> None:
    whole = [
        len(tiny.tokenizer()([w], is_split_into_words=True)["input_ids"][0]) for w in SENTENCES
    ]
    for examples in (made(SENTENCES), made(SENTENCES, 5), made(SENTENCES, 5, 1)):
        assert examples.uncut is not None
        assert examples.uncut.tolist() == whole
        assert examples.take(np.array([2, 0])).uncut.tolist() == [whole[2], whole[0]]  # type: ignore[union-attr]


def test_a_word_without_a_token_is_counted_and_gets_no_label() -> None:
    examples = made(SENTENCES)
    assert (examples.silent, examples.cut, examples.n_missing) == (1, 0, 1)
    assert 31 not in examples.collate(np.arange(4))["labels"].tolist()
    whole = examples.whole(np.ones((len(examples.word_of), 2), np.float32))
    assert whole.shape == (14, 2)
    assert whole.sum() == 26
    assert (whole[3 + 6 + 1 + 1] == 0).all()


def test_a_row_that_is_cut_loses_words_and_tells_how_many() -> None:
    words = ["film", "movie"] * 10
    examples = made([words, ["a"]], length=8)
    assert examples.lengths.tolist() == [8, 3]
    assert (examples.n_cut, examples.n_missing) == (1, 14)
    assert examples.collate([0])["labels"].tolist() == list(range(6))


@pytest.mark.parametrize("overlap", [0, 1, 3])
def test_in_windows_every_word_counts_once_where_it_has_most_around_it(overlap: int) -> None:
    words = ["film", "movie", "plot", "story"] * 5 + ["unbelievable"]
    examples = made([["a"], words, ["the", "plot"]], length=8, overlap=overlap)
    assert len(examples) > 4
    assert (examples.n_rows, examples.n_parted, examples.n_missing) == (3, 1, 0)
    assert examples.word_of.tolist() == list(range(24))
    batch = examples.collate(np.arange(len(examples)))
    assert places(examples, batch)[10] == "film"
    assert places(examples, batch)[30] == "u"
    assert joined(examples.labels).tolist() == batch["labels"].tolist()  # type: ignore[arg-type]
    own = batch["word_places"].numpy()[1:21] % batch["input_ids"].shape[1] - 1
    rooms = np.minimum(own, 5 - own)
    # At neither edge unless it has to be: all but the first and the last word have a neighbour.
    assert (rooms[1:-1] >= min(overlap // 2, 1)).all()


def test_some_rows_are_taken_with_their_windows_and_labels() -> None:
    words = ["film", "movie", "plot"] * 5
    whole = made([["a"], words, ["the", "plot"]], length=8, overlap=2)
    taken = whole.take(np.array([2, 1]))
    assert taken.n_rows == 2
    assert taken.row_sizes.tolist() == [2, 15]
    assert taken.word_of.tolist() == list(range(17))
    batch = taken.collate(np.arange(len(taken)))
    assert batch["labels"].tolist() == [20, 21, *range(10, 25)]
    assert places(taken, batch)[21] == "plot"
    assert places(taken, batch)[12] == "plot"


def test_a_batch_is_parted_by_rows_with_their_words() -> None:
    examples = made(SENTENCES)
    batch = examples.collate(np.arange(4))
    parts = list(split_batch(batch, 3))
    assert [len(part["input_ids"]) for part in parts] == [3, 1]
    assert torch.cat([part["labels"] for part in parts]).tolist() == batch["labels"].tolist()
    assert places(examples, parts[1]) == {30: "no", 32: "story", 33: "d"}
    assert [len(part["labels"]) for part in split_batch({"labels": torch.ones(5)}, 2)] == [2, 2, 1]


def test_words_of_a_text_are_runs_of_letters_and_signs() -> None:
    row = Words.of_text("Dr. Ada's\n 3 films!")
    assert row.words == ("Dr", ".", "Ada", "'", "s", "3", "films", "!")
    for place, word in enumerate(row.words):
        assert row.text[row.starts[place] : row.end(place)] == word
    assert Words.of_list(["New", "York"]) == Words(("New", "York"), (0, 4), "New York")
    assert len(Words.of_list([])) == 0
