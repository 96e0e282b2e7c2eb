"""The longest input of a model, and the overlap of windows."""

from __future__ import annotations

from typing import Any

from headstart.errors import ConfigError, ModelError

UNBOUNDED = 1_000_000
"""From here on a tokenizer's largest length only says that it has none."""
FALLBACK_LENGTH = 512
"""The largest length where neither model nor tokenizer nor user gives one."""


def resolve_max_length(
    tokenizer: Any, positions: int | None, asked: int | None = None, *, default: int | None = None
) -> int:
    """Decide how many tokens a row may have.

    Args:
        tokenizer: A tokenizer of transformers; its ``model_max_length`` is a bound.
        positions: Positions that the model has, if they are limited.
        asked: What the user wants; an error if it is not possible.
        default: What is taken where the user wants nothing, or less if that is not possible;
            ``None`` takes as many as possible.

    Returns:
        Tokens, special ones included.

    Raises:
        ConfigError: If more is asked for than model and tokenizer allow, or not even one token of
            text would fit.
    """
    bounds = {
        "the tokenizer's model_max_length": tokenizer.model_max_length,
        "the model's positions": positions,
    }
    real = {name: int(n) for name, n in bounds.items() if n and n < UNBOUNDED}
    largest = min(real.values(), default=asked or default or FALLBACK_LENGTH)
    if asked is None:
        return min(largest, default or largest)
    if asked > largest:
        reason = next(name for name, bound in real.items() if bound == largest)
        expected = f"a largest length of at most {largest} ({reason})"
        raise ConfigError(expected, str(asked), f"Use --max-length {largest} or less.")
    if asked < (least := tokenizer.num_special_tokens_to_add(pair=True) + 2):
        fix = f"Use --max-length {least} or more."
        raise ConfigError(f"room for special tokens and a pair: {least} tokens", str(asked), fix)
    return asked


def decide_overlap(tokenizer: Any, max_length: int, asked: int | None, *, pair: bool) -> int:
    """Decide how many tokens a window shares with the one before it.

    ``max_length`` are the tokens of a window, special ones included; where the user asks for
    nothing it is a quarter of the room for text. Raises ``HeadstartError`` if the tokenizer is not
    a fast one, or more is asked for than half of the room; of a pair, whose second text alone
    moves, a quarter.
    """
    if not tokenizer.is_fast:
        raise ModelError(
            "a fast tokenizer for --long-texts windows",
            type(tokenizer).__name__,
            "Add its tokenizer.json to the model, or use --long-texts cut.",
        )
    room = max_length - tokenizer.num_special_tokens_to_add(pair=pair)
    largest = room // (4 if pair else 2)
    if asked is not None and asked > largest:
        raise ConfigError(
            f"windows of {max_length} tokens that share at most {largest}"
            f"{' (of a pair, whose second text alone moves)' if pair else ''}",
            str(asked),
            f"Use --window-overlap {largest} or less.",
        )
    return min(room // 4, largest) if asked is None else asked
