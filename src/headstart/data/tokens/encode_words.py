"""Rows of words to tokens, each word with its place among them.

A word's label belongs to its first token. A row that is too long is cut or parted into overlapping
windows; each word then counts in one window alone, that where it has the most tokens on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from headstart.data.examples import Examples
from headstart.data.labels import Labels
from headstart.data.ragged import joined, parted, places, ragged
from headstart.data.rows import Rows
from headstart.data.tokens.encode import Encoded, padding_of
from headstart.imports import without_collection

if TYPE_CHECKING:
    import torch

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
_CHUNK = 1024


@dataclass(frozen=True)
class WordExamples(Examples):
    """Rows of words as tokens. Each window is an example of its own, with labels of its own.

    Args:
        encoded: The tokens of the windows, without labels.
        counts: Words of each example that have a label there, (n,).
        tokens: The token of each of these words in its example, (words,).
        word_of: Which of all words of the data it is, (words,); ascending.
        row_sizes: Words of each row of data, those without a token among them, (rows,).
        cut: Rows of data of which words are cut off.
        silent: Words of which the tokenizer makes no token.
        row_labels_: Labels of each row of data, an array each; ``None`` if not known.
    """

    encoded: Encoded
    counts: Indices
    tokens: Indices
    word_of: Indices
    row_sizes: Indices
    cut: int = 0
    silent: int = 0
    row_labels_: Labels | None = None

    @property
    def lengths(self) -> Indices:  # type: ignore[override]
        """Tokens of each example, (n,)."""
        return self.encoded.lengths

    @property
    def left_padded(self) -> bool:  # type: ignore[override]
        """Whether shorter rows are filled up in front."""
        return self.encoded.left_padded

    @property
    def units(self) -> Indices:
        """Words of each example that have a label there, (n,)."""
        return self.counts

    @cached_property
    def labels(self) -> Labels | None:  # type: ignore[override]
        """The labels that count in each example, an array each, (n,)."""
        return None if self._flat is None else ragged(parted(self._flat, self.counts))

    @cached_property
    def _flat(self) -> Indices | None:
        """The labels that count, of all examples end to end, (words,)."""
        return None if self.row_labels_ is None else joined(self.row_labels_)[self.word_of]

    @cached_property
    def _begins(self) -> Indices:
        """Where the words of each example begin among those that count, (n,)."""
        return np.asarray(np.cumsum(self.counts) - self.counts, np.int64)

    @property
    def row_labels(self) -> Labels | None:
        """Labels of the rows of data, an array each, (rows,)."""
        return self.row_labels_

    @property
    def data_row(self) -> Indices | None:
        """The row of data of each window; see ``Examples``."""
        return self.encoded.row_of

    @property
    def uncut(self) -> Indices | None:  # type: ignore[override]
        """Tokens of each row of data before it was cut or parted; see ``Examples``."""
        return self.encoded.uncut

    @property
    def n_rows(self) -> int:
        """Rows of data."""
        return len(self.row_sizes)

    @property
    def n_parted(self) -> int:
        """Rows of data that have several windows."""
        return self.encoded.n_parted

    @property
    def n_cut(self) -> int:
        """Rows of data of which words are cut off."""
        return self.cut

    @property
    def n_missing(self) -> int:
        """Words that the model does not see: cut off, or without a token."""
        return int(self.row_sizes.sum()) - len(self.word_of)

    def with_labels(self, labels: Labels | None) -> WordExamples:
        """Return the same rows with other labels."""
        return replace(self, row_labels_=labels)

    def take(self, rows: Indices) -> WordExamples:
        """Return some of the rows."""
        row_of = self.encoded.row_of
        row_of = np.arange(len(self)) if row_of is None else row_of
        first = np.searchsorted(row_of, rows)
        sizes = np.searchsorted(row_of, rows, side="right") - first
        windows = places(first, sizes)
        own = places(self._begins[windows], self.counts[windows])
        old = (np.cumsum(self.row_sizes) - self.row_sizes)[rows]
        taken = self.row_sizes[rows]
        shift = np.cumsum(taken) - taken - old
        words = self.counts[windows]
        of_row = np.repeat(np.arange(len(rows)), sizes)
        return replace(
            self,
            encoded=self.encoded.take(rows),
            counts=words,
            tokens=self.tokens[own],
            word_of=self.word_of[own] + np.repeat(shift[of_row], words),
            row_sizes=taken,
            row_labels_=None if self.row_labels_ is None else self.row_labels_[rows],
        )

    def collate(
        self,
        indices: npt.ArrayLike,
        draw: int | None = None,  # noqa: ARG002
    ) -> dict[str, torch.Tensor]:
        """Make a batch of some examples.

        ``word_places``, (words,), is the place of each word's first token in the batch laid end to
        end; ``labels`` are those of the words, (words,).
        """
        import torch

        rows = np.asarray(indices, np.int64)
        batch = self.encoded.collate(rows)
        width = batch["input_ids"].shape[1]
        shift = width - self.lengths[rows] if self.left_padded else np.zeros(len(rows), np.int64)
        own = places(self._begins[rows], self.counts[rows])
        starts = np.repeat(np.arange(len(rows)) * width + shift, self.counts[rows])
        batch["word_places"] = torch.from_numpy(starts + self.tokens[own])
        if self._flat is not None:
            batch["labels"] = torch.from_numpy(self._flat[own])
        return batch

    def padded(self, indices: npt.ArrayLike) -> bool:
        """Return whether anything in a batch is filled up; see ``Examples``."""
        return self.encoded.padded(indices)

    def vocabulary(self) -> Indices:
        """Return every token id that a batch can hold; see ``Examples``."""
        return self.encoded.vocabulary()

    def whole(self, values: Floats) -> Floats:
        """Put what the words have, (words, …), into the order of all words; 0 for those unseen."""
        found = np.zeros((int(self.row_sizes.sum()), *values.shape[1:]), values.dtype)
        found[self.word_of] = values
        return found


def encode_words(
    rows: Rows, tokenizer: Any, max_length: int, overlap: int | None = None
) -> WordExamples:
    """Tokenise rows, each ``Words``, by a fast tokenizer.

    ``max_length`` counts special tokens too; a longer row is cut, or parted into windows that share
    ``overlap`` tokens.
    """
    with without_collection():
        made = list(_tokenise(rows, tokenizer, max_length, overlap))
    windows = [window for row in made for window in row.windows]
    row_sizes = np.array([len(row) for row in rows.inputs], np.int64)
    begins = np.cumsum(row_sizes) - row_sizes
    lengths = np.array([len(window.ids) for window in windows], np.int64)
    counts = np.array([len(row.windows) for row in made], np.int64)
    names = [n for n in ("input_ids", "token_type_ids") if n in tokenizer.model_input_names]
    parts = {"input_ids": [w.ids for w in windows], "token_type_ids": [w.types for w in windows]}
    encoded = Encoded(
        features={name: np.concatenate([np.zeros(0, np.int32), *parts[name]]) for name in names},
        starts=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        lengths=lengths,
        truncated=np.repeat([row.cut for row in made], counts).astype(np.bool_),
        padding=padding_of(tokenizer),
        attention_mask="attention_mask" in tokenizer.model_input_names,
        row_of=np.repeat(np.arange(len(counts)), counts) if (counts > 1).any() else None,
        uncut=np.array([row.tokens for row in made], np.int64),
    )
    own = [begin + w.words for begin, row in zip(begins, made, strict=True) for w in row.windows]
    found = WordExamples(
        encoded=encoded,
        counts=np.array([len(window.words) for window in windows], np.int64),
        tokens=np.concatenate([np.zeros(0, np.int64), *(window.tokens for window in windows)]),
        word_of=np.concatenate([np.zeros(0, np.int64), *own]),
        row_sizes=row_sizes,
        cut=sum(row.cut for row in made),
        silent=sum(row.silent for row in made),
    )
    return found.with_labels(rows.labels)


@dataclass(frozen=True)
class _Window:
    ids: npt.NDArray[np.int32]
    types: npt.NDArray[np.int32]
    words: Indices  # of the row, which count here
    tokens: Indices  # their first tokens


@dataclass(frozen=True)
class _Row:
    windows: list[_Window]
    cut: bool
    silent: int
    tokens: int  # with special ones, before it was cut or parted


def _tokenise(rows: Rows, tokenizer: Any, max_length: int, overlap: int | None) -> Iterator[_Row]:
    core = tokenizer.backend_tokenizer
    core.no_truncation()
    core.no_padding()
    room = max_length - core.num_special_tokens_to_add(False)
    for at in range(0, len(rows), _CHUNK):
        words = [list(row.words) for row in rows.inputs[at : at + _CHUNK]]
        found = core.encode_batch(words, is_pretokenized=True, add_special_tokens=False)
        for own, encoding in zip(words, found, strict=True):
            yield _row(encoding, len(own), core, room, overlap, tokenizer.truncation_side)


def _row(encoding: Any, size: int, core: Any, room: int, overlap: int | None, side: str) -> _Row:
    ids = np.array([-1 if word is None else word for word in encoding.word_ids], np.int64)
    seen, first = np.unique(ids, return_index=True)
    seen, first = seen[seen >= 0], first[seen >= 0]
    total, silent = len(ids), size - len(seen)
    if total <= room:
        begins = np.zeros(1, np.int64)
        parts = [encoding]
    elif overlap is None:
        encoding.truncate(room, direction=side)
        begins = np.array([total - room if side == "left" else 0])
        parts = [encoding]
    else:
        encoding.truncate(room, stride=overlap)
        parts = [encoding, *encoding.overflowing]
        begins = np.arange(len(parts)) * (room - overlap)
    ends = begins + np.array([len(part.ids) for part in parts], np.int64)
    best = _window_of(first, begins, ends, total)
    windows = []
    for place, part in enumerate(parts):
        own = np.flatnonzero(best == place)
        made = core.post_process(part)
        inside = np.flatnonzero(np.array(made.special_tokens_mask) == 0)
        tokens = inside[first[own] - begins[place]] if len(own) else own
        windows.append(
            _Window(np.array(made.ids, np.int32), np.array(made.type_ids, np.int32),
                    seen[own], tokens)
        )  # fmt: skip
    whole = total + core.num_special_tokens_to_add(False)
    return _Row(windows, bool((best < 0).any()), silent, whole)


def _window_of(first: Indices, begins: Indices, ends: Indices, total: int) -> Indices:
    """Return in which window each word has the most tokens on both sides; -1 where in none."""
    far = 10**9
    before = np.where(begins == 0, far, first[:, None] - begins)
    after = np.where(ends == total, far, ends - 1 - first[:, None])
    inside = (first[:, None] >= begins) & (first[:, None] < ends)
    room = np.where(inside, np.minimum(before, after), -1)
    best = room.argmax(axis=1) if len(first) else np.zeros(0, np.int64)
    return cast(Indices, np.where(room.max(axis=1, initial=-1) < 0, -1, best))


def split_batch(
    batch: dict[str, torch.Tensor], size: int | None
) -> Iterator[dict[str, torch.Tensor]]:
    """Part a batch, labels and all, into smaller ones of ``size`` rows; all in one if ``None``."""
    flat = ("word_places", "labels") if "word_places" in batch else ()
    rows = {name: tensor for name, tensor in batch.items() if name not in flat}
    count, width = next(iter(rows.values())).shape[0], 1
    if flat:
        width = batch["input_ids"].shape[1]
        row_of = batch["word_places"] // width
    step = size or count
    for at in range(0, count, step):
        part = {name: tensor[at : at + step] for name, tensor in rows.items()}
        if flat:
            own = (row_of >= at) & (row_of < at + step)
            part["word_places"] = batch["word_places"][own] - at * width
            part["labels"] = batch["labels"][own]
        yield part
