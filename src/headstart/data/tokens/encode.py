"""Rows to tokens, once; tokens to padded tensors, each step.

Tokens of all rows lie end to end in one array, so that a batch is a single gather.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from headstart.data.batching import round_width
from headstart.data.examples import Examples
from headstart.data.labels import Labels
from headstart.data.rows import Rows, Target, TextPair
from headstart.data.tokens.windows import with_windows
from headstart.errors import ModelError
from headstart.imports import without_collection

if TYPE_CHECKING:
    import torch

Indices = npt.NDArray[np.int64]
Tokens = npt.NDArray[np.int32]

_TOKENS = ("input_ids", "token_type_ids")
_CHUNK = 4096  # rows tokenised at a time, which bounds the memory of the intermediate lists


@dataclass(frozen=True)
class Padding:
    """The values that fill places up, by feature, and whether those go before the text."""

    values: dict[str, int]
    left: bool = False


@dataclass(frozen=True)
class Encoded(Examples):
    """Rows as tokens.

    Args:
        features: Values of each model input, the sequences of all rows end to end, (tokens,).
        starts: Where each sequence begins, and the end of the last, (n * choices + 1,).
        lengths: Tokens of each row, of its longest choice, (n,).
        truncated: Whether a row was too long and was cut, (n,).
        padding: How batches are padded.
        attention_mask: Whether the model is told which places are filled up.
        labels: In the form of their kind of target, (n,) or (n, labels); ``None`` if not known.
        choices: Sequences per row.
        span_tokens: For each row, for each of its targets, the places of the target's tokens.
        lost_spans: Rows of which a target was cut off entirely; its mask is empty.
        row_of: Where rows were parted into windows, the row of each window, in order; the windows
            are then what is called rows above. ``None`` where each is a row of its own.
        uncut: Tokens of each row of data before it was cut or parted, of its longest choice,
            (n_rows,); ``None`` where that is not known.
    """

    features: dict[str, Tokens]
    starts: Indices
    lengths: Indices
    truncated: npt.NDArray[np.bool_]
    padding: Padding
    attention_mask: bool = True
    labels: Labels | None = None
    choices: int = 1
    span_tokens: list[tuple[Indices, ...]] | None = field(default=None, repr=False)
    lost_spans: int = 0
    row_of: Indices | None = None
    uncut: Indices | None = None

    @property
    def left_padded(self) -> bool:  # type: ignore[override]
        """Whether shorter rows are filled up in front."""
        return self.padding.left

    @property
    def n_cut(self) -> int:
        """Rows of data of which something is cut off."""
        rows = np.arange(len(self)) if self.row_of is None else self.row_of
        return len(np.unique(rows[self.truncated]))

    def take(self, rows: Indices) -> Encoded:
        """Return some of the rows."""
        row_of, uncut = None, None if self.uncut is None else self.uncut[rows]
        if self.row_of is not None:
            windows = np.split(np.arange(len(self)), np.cumsum(np.bincount(self.row_of))[:-1])
            row_of = np.repeat(np.arange(len(rows)), [len(windows[row]) for row in rows])
            rows = np.concatenate([np.zeros(0, np.int64), *(windows[row] for row in rows)])
        begins, sizes = self._sequences(rows)
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        source = np.repeat(begins - starts[:-1], sizes) + np.arange(starts[-1])
        return replace(
            self,
            features={name: values[source] for name, values in self.features.items()},
            starts=starts,
            lengths=self.lengths[rows],
            truncated=self.truncated[rows],
            labels=None if self.labels is None else self.labels[rows],
            span_tokens=self.span_tokens and [self.span_tokens[row] for row in rows],
            row_of=row_of,
            uncut=uncut,
        )

    def collate(
        self,
        indices: npt.ArrayLike,
        draw: int | None = None,  # noqa: ARG002
    ) -> dict[str, torch.Tensor]:
        """Make a batch, padded to its longest row and from there as ``round_width`` says.

        Inputs are int64, (b, L) or (b, choices, L); where there are targets, ``span_masks`` is
        float32, (b, spans, L).
        """
        import torch

        rows = np.asarray(indices, np.int64)
        begins, lengths = self._sequences(rows)
        width = self._width(lengths)
        shift = width - lengths if self.padding.left else np.zeros_like(lengths)
        places = np.arange(width) - shift[:, None]
        filled = (places >= 0) & (places < lengths[:, None])
        source = np.where(filled, begins[:, None] + places, 0)
        batch = {
            name: np.where(filled, values[source], np.int64(self.padding.values[name]))
            for name, values in self.features.items()
        }
        if self.attention_mask:
            batch["attention_mask"] = filled.astype(np.int64)
        if self.choices > 1:
            batch = {name: v.reshape(len(rows), self.choices, width) for name, v in batch.items()}
        tensors = {name: torch.from_numpy(values) for name, values in batch.items()}
        if self.span_tokens is not None:
            tensors["span_masks"] = torch.from_numpy(self._span_masks(rows, shift, width))
        return tensors | self.label_tensors(rows)

    def padded(self, indices: npt.ArrayLike) -> bool:
        """Return whether a sequence is shorter than the batch is wide."""
        lengths = self._sequences(np.asarray(indices, np.int64))[1]
        return bool((lengths != self._width(lengths)).any())

    def vocabulary(self) -> Indices:
        """Return every token id that a batch can hold."""
        ids, padding = self.features["input_ids"], self.padding.values
        return np.unique(np.append(np.unique(ids), padding["input_ids"])).astype(np.int64)

    def _width(self, lengths: Indices) -> int:
        """Return how wide a batch is; never wider than the longest row of all."""
        longest = int(lengths.max(initial=0))
        if not self.attention_mask:
            return longest
        return min(round_width(longest), int(self.lengths.max(initial=0)))

    def _sequences(self, rows: Indices) -> tuple[Indices, Indices]:
        """Return where the sequences of some rows begin and how long they are."""
        # A row's sequences follow one another, so a batch of rows is one of sequences.
        sequences = (rows[:, None] * self.choices + np.arange(self.choices)).ravel()
        begins = self.starts[sequences]
        return begins, self.starts[sequences + 1] - begins

    def _span_masks(self, rows: Indices, shift: Indices, width: int) -> npt.NDArray[np.float32]:
        chosen = [self.span_tokens[row] for row in rows] if self.span_tokens else []
        masks = np.zeros((len(rows), len(chosen[0]) if chosen else 0, width), np.float32)
        for row, targets in enumerate(chosen):
            for target, tokens in enumerate(targets):
                masks[row, target, tokens + shift[row]] = 1
        return masks


def encode(rows: Rows, tokenizer: Any, max_length: int, overlap: int | None = None) -> Encoded:
    """Tokenise rows.

    Args:
        rows: The rows.
        tokenizer: A tokenizer of transformers.
        max_length: Tokens, special ones included, above which a row is cut: of a pair, the text
            that is the longer one at that moment loses its tokens (``longest_first``).
        overlap: Tokens that the windows of a longer row share, which is then not cut; ``None``
            cuts it. Rows have neither choices nor targets then.

    Returns:
        The tokens.

    Raises:
        ModelError: If the tokenizer has neither a padding nor an end token, or rows have targets
            and it cannot tell the place of a token in the text.
    """
    padding = padding_of(tokenizer)
    if rows.spans is not None and not tokenizer.is_fast:
        raise ModelError(
            "a fast tokenizer, which tells the place of each token in the text",
            type(tokenizer).__name__,
            "Mark the targets in the text instead (span_use: mark).",
        )
    with (
        without_collection()
    ):  # a chunk's lists set it off, and it would look at all that is loaded
        chunks = list(_tokenise(rows, tokenizer, max_length, overlap))
    names = [name for name in _TOKENS if name in tokenizer.model_input_names]
    lengths = _join((chunk.lengths for chunk in chunks), np.int64)
    cut = _join((chunk.truncated for chunk in chunks), np.bool_)
    spans = [row for chunk in chunks for row in chunk.span_tokens]
    counts = _join((chunk.counts for chunk in chunks), np.int64)
    row_of = np.repeat(np.arange(len(counts)), counts) if (counts > 1).any() else None
    shape = (-1, rows.choices)
    found = Encoded(
        features={n: _join((chunk.features[n] for chunk in chunks), np.int32) for n in names},
        starts=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        lengths=lengths.reshape(shape).max(axis=1),
        truncated=np.asarray(cut.reshape(shape).any(axis=1)),
        padding=padding,
        attention_mask="attention_mask" in tokenizer.model_input_names,
        choices=rows.choices,
        span_tokens=None if rows.spans is None else spans,
        lost_spans=sum(not all(len(target) for target in row) for row in spans),
        row_of=row_of,
        uncut=_join((chunk.uncut for chunk in chunks), np.int64).reshape(shape).max(axis=1),
    )
    return found.with_labels(rows.labels)


@dataclass(frozen=True)
class _Chunk:
    features: dict[str, Tokens]
    lengths: Indices
    truncated: npt.NDArray[np.bool_]
    span_tokens: list[tuple[Indices, ...]]
    counts: Indices  # windows of each row
    uncut: Indices


def padding_of(tokenizer: Any) -> Padding:
    """Return how a tokenizer pads; the end token stands in for a missing padding token.

    Raises ``ModelError`` if the tokenizer has neither.
    """
    pad = tokenizer.pad_token_id
    if pad is None:
        pad = tokenizer.eos_token_id
    if pad is None:
        raise ModelError(
            "a tokenizer with a padding token",
            f"{type(tokenizer).__name__} with neither a padding nor an end-of-text token",
            "Set pad_token in its tokenizer_config.json.",
        )
    values = {"input_ids": int(pad), "token_type_ids": int(tokenizer.pad_token_type_id)}
    return Padding(values, tokenizer.padding_side == "left")


def _tokenise(rows: Rows, tokenizer: Any, max_length: int, overlap: int | None) -> Iterator[_Chunk]:
    pairs = [pair for row in rows.inputs for pair in row]
    for at in range(0, len(pairs), _CHUNK):
        # Rows with targets have one pair each, so that the two lists run in step.
        spans = None if rows.spans is None else rows.spans[at : at + _CHUNK]
        yield _tokenise_chunk(pairs[at : at + _CHUNK], spans, tokenizer, max_length, overlap)


def _tokenise_chunk(
    pairs: Sequence[TextPair],
    spans: Sequence[tuple[Target, ...]] | None,
    tokenizer: Any,
    max_length: int,
    overlap: int | None,
) -> _Chunk:
    """Tokenise without a limit, which tells exactly what is too long, and that again with it."""
    names = [name for name in _TOKENS if name in tokenizer.model_input_names]
    batch = _call(tokenizer, pairs, spans is not None)
    columns = {name: batch[name] for name in names}
    found = [_span_tokens(batch, i, s) for i, s in enumerate(spans or ())]
    uncut = np.array([len(tokens) for tokens in batch["input_ids"]], np.int64)
    truncated = uncut > max_length
    long, counts = np.flatnonzero(truncated).tolist(), np.ones(len(pairs), np.int64)
    if long and overlap is not None:
        columns, counts, truncated = with_windows(
            pairs, long, columns, tokenizer, max_length, overlap
        )
    elif long:
        again = _call(tokenizer, [pairs[i] for i in long], spans is not None, max_length)
        for new, old in enumerate(long):
            for name in names:
                columns[name][old] = again[name][new]
            if spans is not None:
                found[old] = _span_tokens(again, new, spans[old])
    lengths = np.array([len(tokens) for tokens in columns["input_ids"]], np.int64)
    features = {name: _flat(columns[name], int(lengths.sum())) for name in names}
    return _Chunk(features, lengths, truncated, found, counts, uncut)


def _call(
    tokenizer: Any, pairs: Sequence[TextPair], places: bool, max_length: int | None = None
) -> Any:
    firsts, seconds = zip(*pairs, strict=True)
    return tokenizer(
        list(firsts),
        None if seconds[0] is None else list(seconds),
        truncation="longest_first" if max_length else False,
        max_length=max_length,
        return_attention_mask=False,
        # Asked for only when needed: tokenizers in Python refuse it.
        **({"return_offsets_mapping": True} if places else {}),
        verbose=False,
    )


def _span_tokens(batch: Any, row: int, spans: tuple[Target, ...]) -> tuple[Indices, ...]:
    """Return the places of the tokens that overlap each target."""
    offsets = np.asarray(batch["offset_mapping"][row])
    segments = np.array([-1 if s is None else s for s in batch.sequence_ids(row)])
    return tuple(
        np.flatnonzero((segments == segment) & (offsets[:, 0] < end) & (offsets[:, 1] > start))
        for segment, start, end in spans
    )


def _flat(sequences: Sequence[Sequence[int]], total: int) -> Tokens:
    values: Iterator[int] = chain.from_iterable(sequences)
    return np.fromiter(values, np.int32, total)


def _join(arrays: Iterable[npt.NDArray[Any]], kind: type[np.generic]) -> npt.NDArray[Any]:
    return np.concatenate([np.zeros(0, kind), *arrays])
