"""Long texts as overlapping windows: each is an input of its own, and its row is known.

Nothing of a text is lost. In training each window has its row's label; a row's logits are the mean
of those of its windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from headstart.errors import ModelError
from headstart.files.contents import UnreadableError
from headstart.files.schema import as_record

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Windows:
    """Length and overlap of windows over long texts, as saved in ``config.json``.

    Both are in tokens, the length with special ones.
    """

    length: Annotated[int, Field(ge=4)]
    overlap: Annotated[int, Field(ge=0)]

    def to_dict(self) -> dict[str, int]:
        """Return it as plain data."""
        return asdict(self)

    @classmethod
    def read(cls, record: Any, source: str) -> Windows | None:
        """Read how a saved model reads long texts; ``None`` if it cuts them.

        Raises ``ModelError`` if the field has been damaged.
        """
        if record is None:
            return None
        try:
            return as_record(cls, record)
        except UnreadableError as error:
            raise ModelError(
                "length and overlap of the windows under long_texts in config.json",
                f"{source}: {error}",
                "Correct them, or say --long-texts cut or --long-texts windows yourself.",
            ) from None


def _slide(
    firsts: Sequence[str],
    seconds: Sequence[str] | None,
    tokenizer: Any,
    max_length: int,
    overlap: int,
) -> Iterator[tuple[list[Any], bool]]:
    """Yield the windows of rows that are too long.

    Of a pair the second text moves, and each window holds the first one. Where that leaves the
    second text less than half of the room, the first one is cut. ``tokenizer`` is a fast one that
    has just been called without truncation; ``max_length`` counts special tokens too. For each row
    there are its windows as encodings of ``tokenizers``, and whether anything of it is lost.
    """
    core, side = tokenizer.backend_tokenizer, tokenizer.truncation_side
    room = max_length - core.num_special_tokens_to_add(seconds is not None)
    one = core.encode_batch(list(firsts), add_special_tokens=False)
    if seconds is None:
        for text in one:
            text.truncate(room, stride=overlap, direction=side)
            yield [core.post_process(part) for part in (text, *text.overflowing)], False
        return
    two = core.encode_batch(list(seconds), add_special_tokens=False)
    for first, second in zip(one, two, strict=True):
        kept = max(room - room // 2, room - len(second))
        lost = len(first) > kept
        first.truncate(kept, direction=side)
        second.truncate(room - len(first), stride=overlap, direction=side)
        parts = (second, *second.overflowing)
        yield [core.post_process(first, part) for part in parts], lost


def with_windows(
    pairs: Sequence[tuple[str, str | None]],
    long: Sequence[int],
    columns: dict[str, Any],
    tokenizer: Any,
    max_length: int,
    overlap: int,
) -> tuple[dict[str, Any], Indices, npt.NDArray[np.bool_]]:
    """Put windows in the place of rows that are too long.

    ``long`` says which they are, ``columns`` are the tokens by feature. Given back are the tokens
    of all windows, the number of each row's, and whether each is of a row of which something is
    lost.
    """
    firsts, seconds = zip(*(pairs[row] for row in long), strict=True)
    second = None if seconds[0] is None else seconds
    windows = dict(zip(long, _slide(firsts, second, tokenizer, max_length, overlap), strict=True))
    parted: dict[str, Any] = {name: [] for name in columns}
    counts, lost = np.ones(len(pairs), np.int64), np.zeros(len(pairs), np.bool_)
    for row in range(len(pairs)):
        parts, lost[row] = windows.get(row, ((), False))
        counts[row] = len(parts) or 1
        for name, column in columns.items():
            own = [part.ids if name == "input_ids" else part.type_ids for part in parts]
            parted[name] += own or [column[row]]
    return parted, counts, np.repeat(lost, counts)


def of_rows(values: npt.NDArray[Any], row_of: Indices | None) -> npt.NDArray[Any]:
    """Return what all windows of a row have in common, (windows, …), once for each row, (n, …).

    Each is a row of its own where ``row_of`` is ``None``.
    """
    return values if row_of is None else values[np.unique(row_of, return_index=True)[1]]


def window_weights(row_of: Indices) -> Floats:
    """Return what each window weighs, (windows,), so that rows weigh the same; the mean is 1."""
    shares = 1 / np.bincount(row_of)[row_of]
    return np.asarray(shares * (len(shares) / shares.sum()), np.float32)


def mean_of_windows(values: npt.NDArray[Any], row_of: Indices) -> npt.NDArray[Any]:
    """Average what the windows of each row have, (windows, …), to (n, …); they are in order."""
    counts = np.bincount(row_of)
    begins = np.cumsum(counts) - counts
    sums = np.add.reduceat(values, begins, axis=0)
    return np.asarray(sums / counts.reshape(-1, *[1] * (values.ndim - 1)), values.dtype)
