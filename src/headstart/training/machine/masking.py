"""Attention masks without a question to the device.

To leave out a mask that hides nothing, which is what lets attention run in its flash kernel,
transformers looks whether the batch is padded: it reads a number from the device, and waits for all
that was begun there. The program that made the batch knows, so it tells.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask, sdpa_mask

Mask = Callable[..., Any]


@contextlib.contextmanager
def known_padding(padded: bool) -> Iterator[None]:
    """Tell transformers whether anything in the batch is padded, so that it need not look.

    The masks are those that transformers makes by itself.
    """
    table: Any = ALL_MASK_ATTENTION_FUNCTIONS
    told = {
        name: _with_known_padding(function, padded)
        for name, function in table.items()
        if function in (eager_mask, sdpa_mask)
    }
    for name, function in told.items():
        table[name] = function
    try:
        yield
    finally:
        for name in told:
            del table[name]


def _with_known_padding(function: Mask, padded: bool) -> Mask:
    """Return a maker of masks that does as if it had looked at the padding."""

    def make(*args: Any, attention_mask: Any = None, **settings: Any) -> Any:
        if not padded:
            attention_mask = None
        elif attention_mask is not None:
            settings |= {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}
        return function(*args, attention_mask=attention_mask, **settings)

    return make
