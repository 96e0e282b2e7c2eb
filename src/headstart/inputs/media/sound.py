"""Sound as numbers: decoded, made mono, resampled; what cannot be used is told."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from headstart.errors import DataError
from headstart.files.contents import UnreadableError
from headstart.inputs.media.media import array_digest

Wave = npt.NDArray[np.float32]
MOST_SAMPLES = 2**28
"""Numbers of a sound, of all its channels, above which it is refused: 1 GiB once decoded."""
MOST_CHANNELS = 64
_ENDLESS = (0, 2**32 - 1)  # what a WAV file that was written into a pipe says of its size
_RATES = range(100, 1_000_001)
"""Samples a second. Others stand in damaged files; to resample them takes minutes or all memory."""


class Sound(NamedTuple):
    """A decoded sound."""

    wave: Wave
    """Its samples, (n,), the mean over the channels."""
    rate: int
    """Samples a second."""
    channels: int


def decode(content: Any) -> Sound:
    """Decode a sound: the bytes of a file, or an object that ``sound_digest`` knows.

    Raises ``UnreadableError`` if it is none, or is damaged, empty, or holds what is no number.
    """
    values, rate = _decode_file(content) if isinstance(content, bytes) else _from_object(content)
    if not len(values):
        raise UnreadableError("an empty sound")
    if not np.isfinite(values).all():
        raise UnreadableError("a sound with samples that are no numbers")
    wave = values[:, 0] if values.shape[1] == 1 else values.mean(axis=1, dtype=np.float32)
    return Sound(np.ascontiguousarray(wave), rate, values.shape[1])


def sound_digest(value: Any) -> str | None:
    """Return a digest of a sound in memory; ``None`` if it is none.

    It is ``{"array": …, "sampling_rate": …}``, ``(array, rate)``, or a decoder of ``datasets``.
    Raises ``UnreadableError`` if it is one that cannot be read.
    """
    if not is_sound(value):
        return None
    values, rate = _from_object(value)
    return array_digest(values, rate)


def is_sound(value: Any) -> bool:
    """Return whether a value looks like one sound in memory."""
    if isinstance(value, Mapping):
        return "sampling_rate" in value and bool(value.keys() & {"array", "raw"})
    pair = isinstance(value, tuple) and len(value) == 2
    if pair and isinstance(value[0], Real) and np.ndim(value[1]):
        return True  # the wrong way round, which is told
    return (pair and bool(np.ndim(value[0])) and isinstance(value[1], Real)) or hasattr(
        value, "get_all_samples"
    )


def resample(wave: Wave, rate: int, wanted: int, seconds: float = math.inf) -> Wave:
    """Resample a sound, (n,), by a polyphase filter, which keeps out what the new rate cannot hold.

    Rates are samples a second. It is cut after ``seconds``; at least one sample is left.
    """
    if len(wave) > (seconds + 1) * rate:  # the filter looks ahead, by less than a second
        wave = wave[: math.ceil((seconds + 1) * rate)]
    return _resampled(wave, rate, wanted)[: max(1, round(min(seconds, len(wave)) * wanted))]


def _resampled(wave: Wave, rate: int, wanted: int) -> Wave:
    if rate == wanted:
        return wave
    from scipy.signal import resample_poly

    common = math.gcd(rate, wanted)
    found: Wave = resample_poly(wave, wanted // common, rate // common).astype(np.float32)
    return found


class _Seekable(io.BytesIO):
    """Bytes that stay where they are if a damaged file leads the decoder to no place in them.

    What is raised inside of the decoder's calls ends nowhere but on the terminal.
    """

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


def _decode_file(data: bytes) -> tuple[Wave, int]:
    try:
        import soundfile
    except (ImportError, OSError):  # the package, or the library that it loads
        raise DataError(
            "the package soundfile, which reads files of sound",
            "none",
            "Install it: pip install 'headstart[audio]'.",
        ) from None
    if data[:4] == b"RIFF":
        told = int.from_bytes(data[4:8], "little")
        if told not in _ENDLESS and told + 8 > len(data) + 1:
            raise UnreadableError("a file that is cut off")
    try:
        with soundfile.SoundFile(_Seekable(data)) as file:
            frames = file.frames
            if frames * file.channels > MOST_SAMPLES:
                raise UnreadableError(f"more than {MOST_SAMPLES:,} samples")
            rate = _as_rate(file.samplerate)
            values = file.read(dtype="float32", always_2d=True)
    except UnreadableError:
        raise
    # LibsndfileError is a RuntimeError, whose text names an object in memory.
    except (RuntimeError, ValueError, OSError, MemoryError) as error:
        reason = str(getattr(error, "error_string", "") or error).removeprefix("Error : ")
        raise UnreadableError(f"no sound that can be decoded ({reason.rstrip('.')})") from None
    if len(values) < frames:
        raise UnreadableError("a file that is cut off")
    return values, rate


def _from_object(value: Any) -> tuple[Wave, int]:
    """Return samples by channel, (n, channels), and their rate."""
    if hasattr(value, "get_all_samples"):
        try:
            samples = value.get_all_samples()
        except (RuntimeError, ValueError, OSError) as error:
            raise UnreadableError(f"no sound that can be decoded ({error})") from None
        array, rate = samples.data, samples.sample_rate
    elif isinstance(value, Mapping):
        array, rate = value["array"] if "array" in value else value["raw"], value["sampling_rate"]
    else:
        array, rate = value
        if isinstance(array, Real):
            raise UnreadableError("(rate, array), the wrong way round: (array, rate) is read")
    return _by_channel(array), _as_rate(rate)


def _as_rate(rate: Any) -> int:
    number = float(rate) if isinstance(rate, Real) else math.nan
    if not number.is_integer() or int(number) not in _RATES:
        raise UnreadableError(f"a sampling rate of {str(rate)[:40]}")
    return int(number)


def _by_channel(array: Any) -> Wave:
    try:
        values = np.asarray(array)
        whole = np.issubdtype(values.dtype, np.integer)
        if not whole and not np.issubdtype(values.dtype, np.floating):
            raise UnreadableError("an array that holds no numbers")
    except (ValueError, TypeError):
        raise UnreadableError("an array that holds no numbers") from None
    if values.size > MOST_SAMPLES:
        raise UnreadableError(f"more than {MOST_SAMPLES:,} samples")
    scale = float(np.iinfo(values.dtype).max) + 1 if whole else 1.0
    if values.ndim == 2 and values.shape[0] < values.shape[1]:
        values = values.T
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.shape[1] > MOST_CHANNELS:
        raise UnreadableError(f"an array of shape {values.shape}, not (samples,)")
    return (values / np.float32(scale)).astype(np.float32)
