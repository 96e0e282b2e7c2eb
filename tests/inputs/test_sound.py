"""Reading sound: where it lies, how it is decoded, and what is refused with rows and names."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

import tiny_sound
from headstart.data.checks import duplicate_rows
from headstart.data.tables.sources import read_table
from headstart.data.tables.usable import Gaps, usable_rows
from headstart.errors import DataError, Faults, HeadstartError
from headstart.files.contents import UnreadableError
from headstart.inputs._rows import build_rows
from headstart.inputs.audio import Audio
from headstart.inputs.media import media as _media
from headstart.inputs.media import sound as _sound
from headstart.inputs.media.sound import decode, resample, sound_digest
from headstart.tasks.userfile import from_columns

RATE = tiny_sound.RATE
TASK = from_columns((), audio="audio")
TONE = tiny_sound.tone(100, 0.2)


def rows_of(cells: list[Any], folder: Path | None = None) -> Any:
    frame = pd.DataFrame({"audio": pd.Series(cells, dtype=object)})
    if folder is not None:
        frame.attrs["folder"] = str(folder)
    return build_rows(frame, TASK, None, where="the training rows")


def wave_of(medium: Any) -> Any:
    return decode(medium.content()).wave


def test_the_same_sound_is_read_from_every_place(tmp_path: Path) -> None:
    tiny_sound.write_wav(tmp_path / "in" / "a.wav", TONE)
    data = (tmp_path / "in" / "a.wav").read_bytes()
    with zipfile.ZipFile(tmp_path / "sounds.zip", "w") as archive:
        archive.writestr("deep/z.wav", data)
    cells = [
        "in/a.wav", str(tmp_path / "in" / "a.wav"), "deep/z.wav", "sounds.zip/deep/z.wav", data,
        {"bytes": data, "path": "gone.wav"}, {"bytes": None, "path": "in/a.wav"},
    ]  # fmt: skip
    rows = rows_of(cells, tmp_path)
    assert len({*rows.inputs}) == 1
    assert len({repr(each) for each in rows.inputs}) == 1
    for medium in rows.inputs:
        assert wave_of(medium) == pytest.approx(TONE, abs=1e-4)


def test_equal_sounds_are_seen_as_repeated_rows(tmp_path: Path) -> None:
    tiny_sound.write_wav(tmp_path / "a.wav", TONE)
    tiny_sound.write_wav(tmp_path / "b.wav", TONE)
    tiny_sound.write_wav(tmp_path / "c.wav", -TONE)
    train, other = rows_of(["a.wav"], tmp_path), rows_of(["b.wav", "c.wav"], tmp_path)
    assert duplicate_rows(train, other) == 1


def test_sounds_in_memory_have_many_forms() -> None:
    samples = SimpleNamespace(data=TONE[None], sample_rate=RATE)
    decoder = SimpleNamespace(get_all_samples=lambda: samples)
    whole = (TONE * 32768).astype(np.int16)
    forms = [
        {"array": TONE, "sampling_rate": RATE}, {"raw": TONE.tolist(), "sampling_rate": RATE},
        {"array": TONE, "sampling_rate": float(RATE), "path": None}, (TONE, RATE), decoder,
        (np.stack([TONE, TONE]), RATE), (np.stack([TONE, TONE], 1), RATE), (whole, RATE),
    ]  # fmt: skip
    for form in forms:
        sound = decode(form)
        assert (sound.rate, sound.wave.dtype) == (RATE, np.float32)
        assert sound.wave == pytest.approx(TONE, abs=1e-4)
        assert sound_digest(form)
    assert decode(forms[5]).channels == 2
    assert sound_digest((TONE, RATE)) != sound_digest((TONE, 2 * RATE))


def test_channels_are_averaged(tmp_path: Path) -> None:
    both = np.stack([TONE, np.zeros_like(TONE)], 1)
    tiny_sound.write_wav(tmp_path / "two.wav", both, channels=2)
    sound = decode((tmp_path / "two.wav").read_bytes())
    assert sound.channels == 2
    assert sound.wave == pytest.approx(TONE / 2, abs=1e-4)


@pytest.mark.parametrize("rate", [1000, 8000, 11025, 44100])
def test_resampling_keeps_pitch_and_length(rate: int) -> None:
    found = resample(tiny_sound.tone(100, 0.5, rate), rate, RATE)
    assert len(found) == pytest.approx(0.5 * RATE, abs=1)
    spectrum = np.abs(np.fft.rfft(found))
    assert np.fft.rfftfreq(len(found), 1 / RATE)[spectrum.argmax()] == pytest.approx(100, abs=2)


def test_resampling_keeps_out_what_the_new_rate_cannot_hold() -> None:
    high = np.sin(2 * np.pi * 3000 * np.arange(8000) / 8000).astype(np.float32)
    assert np.abs(resample(high, 8000, RATE)[100:-100]).max() < 0.01


@pytest.mark.parametrize("rate", [100, 2000, 44100])
def test_to_cut_first_changes_nothing_but_the_time_that_it_takes(rate: int) -> None:
    long = tiny_sound.tone(30, 9, rate)
    whole = resample(long, rate, RATE)
    assert np.array_equal(resample(long, rate, RATE, 2.5), whole[: round(2.5 * RATE)])
    assert np.array_equal(resample(long, rate, RATE, 60), whole)


@pytest.mark.parametrize("rate", [0, 1, 99, 1_000_001, 2**31 - 1, 2**32 - 1])
def test_a_rate_that_a_damaged_file_tells_is_refused(rate: int, tmp_path: Path) -> None:
    tiny_sound.write_wav(tmp_path / "a.wav", TONE)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[24:28] = rate.to_bytes(4, "little")
    with pytest.raises(UnreadableError, match=r"a sampling rate of|can be decoded"):
        decode(bytes(data))


def test_more_samples_than_a_file_can_hold_are_not_waited_for() -> None:
    data = io.BytesIO()
    soundfile.write(data, TONE, 8000, format="FLAC")
    claimed = bytearray(data.getvalue())
    claimed[21] |= 0x0F  # the 36 bits of STREAMINFO
    claimed[22:26] = b"\xff" * 4
    with pytest.raises(UnreadableError, match="more than 268,435,456 samples"):
        decode(bytes(claimed))


def test_a_place_that_is_not_in_the_file_is_no_noise_on_the_terminal() -> None:
    file = _sound._Seekable(b"abc")
    assert file.seek(1) == 1
    assert file.seek(-5) == file.seek(2**70) == 1


def spoilt(tmp_path: Path) -> dict[str, Any]:
    """Write cells that cannot be read, by the reason that is told."""
    tiny_sound.write_wav(tmp_path / "cut.wav", TONE)
    data = (tmp_path / "cut.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(data[:-100])
    (tmp_path / "text.wav").write_text("no sound at all" * 20)
    tiny_sound.write_wav(tmp_path / "empty.wav", TONE[:0])
    (tmp_path / "nothing.wav").write_bytes(b"")
    return {
        "cut off": "cut.wav",
        "that can be decoded": "text.wav",
        "an empty sound": "empty.wav",
        "can be decoded": "nothing.wav",
        "no such file": "gone.wav",
        "not fetched": "https://example.org/a.wav",
        "no sound": None,
        "that are no numbers": (np.array([0.0, np.nan]), RATE),
        "a sampling rate of nan": (TONE, float("nan")),
        "a sampling rate of 0": {"array": TONE, "sampling_rate": 0},
        "the wrong way round": (RATE, TONE),
        "of shape": (np.zeros((2, 2, 2)), RATE),
        "holds no numbers": (np.array(["a", "b"]), RATE),
        "a float": 1.5,
    }


def test_every_faulty_cell_is_told_with_row_and_name(tmp_path: Path) -> None:
    cells = spoilt(tmp_path)
    tiny_sound.write_wav(tmp_path / "good.wav", TONE)
    with pytest.raises(Faults) as caught:
        rows_of(["good.wav", *cells.values()], tmp_path)
    told = [str(fault) for fault in caught.value.faults]
    for row, (reason, cell) in enumerate(cells.items(), 2):
        fitting = [line for line in told if reason in line]
        assert fitting, (reason, told)
        assert any(str(row) in line for line in fitting), (reason, fitting)
        if isinstance(cell, str):
            assert any(cell in line for line in fitting), (reason, fitting)
    assert all("'audio'" in line and "the training rows" in line for line in told)
    empty = [line for line in told if "leave the rows out by --empty-text drop" in line]
    assert len(empty) == 1
    assert "found no sound in 1 row" in empty[0]


def test_a_column_of_texts_says_where_paths_begin(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file in 2 rows") as caught:
        rows_of(["A fine film.", "x" * 5000], tmp_path)
    assert str(tmp_path) in caught.value.fix


def test_a_damaged_archive_is_told(tmp_path: Path) -> None:
    tiny_sound.write_wav(tmp_path / "a.wav", TONE)
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.write(tmp_path / "a.wav", "z.wav")
    data = bytearray((tmp_path / "s.zip").read_bytes())
    data[200:240] = bytes(40)
    (tmp_path / "s.zip").write_bytes(bytes(data))
    with pytest.raises(DataError, match="damaged member"):
        rows_of(["z.wav"], tmp_path)


def test_what_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_sound.write_wav(tmp_path / "a.wav", TONE)
    data = (tmp_path / "a.wav").read_bytes()
    with zipfile.ZipFile(tmp_path / "s.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("z.wav", data)
    monkeypatch.setattr(_media, "LARGEST_FILE", 500)
    for cell in ("a.wav", "z.wav", data):
        with pytest.raises(DataError, match="than 0 MiB"):
            rows_of([cell], tmp_path)
    monkeypatch.setattr(_sound, "MOST_SAMPLES", 100)
    for content in (data, (TONE, RATE)):
        with pytest.raises(UnreadableError, match="more than 100 samples"):
            decode(content)


def test_rows_without_sound_can_be_left_out(tmp_path: Path) -> None:
    frame = pd.DataFrame({"audio": ["a.wav", None, {"bytes": None, "path": None}, ""]})
    empty = usable_rows(
        frame, Gaps("drop"), where="the rows", empty=lambda table: Audio.missing(table, TASK)
    )
    assert empty.kept.tolist() == [0]
    with pytest.raises(HeadstartError, match="--empty-text keep"):
        Audio.read(frame, TASK, where="the rows", keep_empty=True)


def test_a_folder_for_each_class_is_a_table(tmp_path: Path) -> None:
    tiny_sound.folder_of_tones(tmp_path / "data" / "train", each=2)
    tiny_sound.folder_of_tones(tmp_path / "data" / "validation", each=1)
    (tmp_path / "data" / "train" / "low" / "notes.txt").write_text("no sound")
    frame = read_table(tmp_path / "data", split="train", or_all=True)
    assert list(frame.columns) == ["audio", "label"]
    assert frame["label"].tolist() == ["high", "high", "low", "low"]
    assert len(build_rows(frame, TASK, None, where="the rows")) == 4
    assert len(read_table(tmp_path / "data", split="validation", or_all=True)) == 2
    assert len(read_table(tmp_path / "data" / "train")) == 4
    with pytest.raises(DataError, match="folders train, validation"):
        read_table(tmp_path / "data")
    (tmp_path / "data" / "train" / "low" / "picture.png").write_bytes(b"")
    with pytest.raises(DataError, match="both sound and pictures"):
        read_table(tmp_path / "data" / "train")


def test_predict_takes_one_sound_or_several() -> None:
    several = [
        "a.wav",
        Path("b.wav"),
        b"RIFF",
        (TONE, RATE),
        {"array": TONE, "sampling_rate": RATE},
    ]
    for value in several:
        assert len(Audio.table(value, None)[0]) == 1
    frame, task = Audio.table(several, TASK)
    assert frame["audio"].tolist()[:3] == several[:3]
    assert task is TASK
    with pytest.raises(DataError, match="predict_frame"):
        Audio.table(frame, TASK)
    with pytest.raises(DataError, match="a list of sounds"):
        Audio.table(5, TASK)
