"""Text from data and files made safe to show: names, labels and rows that others have written.

A terminal obeys escape sequences, Markdown and LaTeX obey signs, and marks of direction let a line
read as another one. What is shown is therefore spelled out; what is stored as data stays as it is.
"""

from __future__ import annotations

import re

LONGEST = 60
"""Characters of a name in a sentence or a table."""
LONGEST_MESSAGE = 4000
"""Characters of a whole message."""
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but line feed and tab
    "\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069"  # direction, and what has no width
    "\u2028\u2029\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"  # lines, marks, halves
)
"""All but the two joiners, which words of some languages need."""
_LINK = re.compile(r"\](?=[(\[:])")


def printable(text: str) -> str:
    r"""Spell out characters that steer a terminal or the direction of reading, or cannot be seen.

    Args:
        text: Any text.

    Returns:
        The text with ``\u001b`` in the place of an escape, for example; lines and tabs stay.
    """
    return _UNSEEN.sub(_spelled, text)


def one_line(text: str) -> str:
    """Return printable text in one line."""
    return printable(re.sub(r"\r\n|[\r\n\t\v\f\x85\u2028\u2029]", " ", text))


def shortened(text: str, longest: int = LONGEST) -> str:
    """Cut text that is too long, and say how many characters follow."""
    rest = len(text) - longest
    return text if rest <= 0 else f"{text[:longest]}… ({rest:,} more characters)"


def shown(name: str) -> str:
    """Return a name, such as a label's, as one printable line for a sentence, not too long."""
    return one_line(shortened(name))


def quoted(name: str) -> str:
    """Return a name between quotation marks, not too long.

    It is as Python writes it, which spells out what cannot be seen.
    """
    return repr(shortened(name))


def markdown(text: str, signs: str = "|*_<") -> str:
    """Return text as it reads in one line of Markdown.

    There is a backslash before each sign that is not among ``signs``, code and links.
    """
    escaped = "".join(f"\\{c}" if c in signs or c in "\\`" else c for c in one_line(text))
    return _LINK.sub(r"\\]", escaped)


def markdown_code(text: str) -> str:
    """Return text as code in a line of Markdown, also in a cell of a table."""
    line = one_line(text).replace("|", r"\|")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{space}{line}{space}{fence}"


def _spelled(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
