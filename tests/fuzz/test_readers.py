"""Whatever a file holds, its reader gives an error that says what to do, soon, or reads it.

Less than a minute by default; ``HEADSTART_FUZZ=60`` takes about an hour, with further changes.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from alike import first
from fuzz.mutations import BOMB, WHOLE, changed
from fuzz.readers import READERS
from headstart.errors import HeadstartError

MINUTES = float(os.environ.get("HEADSTART_FUZZ", "1"))
LONGEST = 30
"""Seconds after which a reader counts as hanging."""
_EACH = 150  # changes that the quickest reader gets by default


class Hangs(BaseException):
    """A reader does not come back."""


def _alarm(_signal: int, _frame: FrameType | None) -> None:
    raise Hangs


def read(name: str, folder: Path) -> BaseException | None:
    """Read a folder; return what no reader may raise."""
    signal.signal(signal.SIGALRM, _alarm)
    signal.alarm(LONGEST)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            READERS[name].read(folder)
    except HeadstartError as error:
        str(error).encode()
    except BaseException as error:  # noqa: BLE001  that is what is looked for
        return error
    finally:
        signal.alarm(0)
    return None


@pytest.mark.slow
@pytest.mark.parametrize("name", first(READERS, 3))
def test_no_content_of_a_file_is_a_fault_of_the_program(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "headstart")
    reader = READERS[name]
    whole = tmp_path / "whole"
    whole.mkdir()
    reader.make(whole)
    assert read(name, whole) is None
    (path, *_) = sorted(whole.glob(reader.file))
    data = path.read_bytes()
    values = reader.parse(data) if reader.parse else None
    draw = random.Random(name)  # noqa: S311
    number = max(4, round(MINUTES * _EACH / reader.cost))
    order = draw.sample(range(len(WHOLE) + 1), min(number // 2, len(WHOLE) + 1))
    order += range(len(WHOLE) + 1, len(WHOLE) + 1 + number - len(order))
    found: dict[str, Any] = {}
    for each in order:
        folder = tmp_path / "changed"
        shutil.copytree(whole, folder)
        content = changed(data, values, reader.write, draw, each)
        (folder / path.relative_to(whole)).write_bytes(content)
        error = read(name, folder)
        if error is not None:
            found.setdefault(f"{type(error).__name__}: {str(error)[-300:]}", content[:300])
        shutil.rmtree(folder, ignore_errors=True)
    assert not found, f"{len(found)} of {len(order)}: {found}"


def test_what_is_changed_is_really_changed() -> None:
    draw = random.Random(0)  # noqa: S311
    data, values = b'{"a": [1, {"b": "c"}]}', {"a": [1, {"b": "c"}]}
    from fuzz.mutations import as_json

    made = {changed(data, values, as_json, draw, n) for n in range(len(WHOLE) + 200)}
    assert len(made) > 150 and {*WHOLE, BOMB.encode()} <= made
