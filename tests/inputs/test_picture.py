"""Pictures decoded: every way of storing one becomes RGB, and what cannot be read says why."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tiny_pictures as tiny
from headstart.errors import HeadstartError
from headstart.files.contents import UnreadableError
from headstart.inputs.image import Image as ImageKind
from headstart.inputs.media import picture as _picture
from headstart.inputs.media.picture import COLOURS, DEEP, FRAMES, TRANSPARENT, decode
from headstart.tasks.userfile import from_columns

TASK = from_columns((), image="image")


def encoded(image: Image.Image, kind: str = "PNG", **more: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **more)
    return data.getvalue()


def plain(mode: str, value: Any, size: tuple[int, int] = (4, 3)) -> Image.Image:
    return Image.new(mode, size, value)


RED = (255, 0, 0)
KINDS: dict[str, tuple[Any, tuple[int, int, int], tuple[str, ...]]] = {
    "rgb": (encoded(plain("RGB", RED)), RED, ()),
    "grey": (encoded(plain("L", 90)), (90, 90, 90), ()),
    "one bit": (encoded(plain("1", 1)), (255, 255, 255), ()),
    "palette": (encoded(plain("RGB", RED).convert("P", palette=Image.Palette.ADAPTIVE)), RED, ()),
    "opaque": (encoded(plain("RGBA", (*RED, 255))), RED, ()),
    "clear": (encoded(plain("RGBA", (*RED, 0))), (255, 255, 255), (TRANSPARENT,)),
    "half clear": (encoded(plain("RGBA", (*RED, 51))), (255, 204, 204), (TRANSPARENT,)),
    "clear grey": (encoded(plain("LA", (10, 0))), (255, 255, 255), (TRANSPARENT,)),
    "16 bits": (encoded(Image.fromarray(np.full((3, 4), 51400, np.uint16))), (200,) * 3, (DEEP,)),
    "print": (encoded(plain("CMYK", (0, 255, 255, 0)), "TIFF"), RED, (COLOURS,)),
    "frames": (
        encoded(plain("L", 7), "GIF", save_all=True, append_images=[plain("L", 200)]), (7,) * 3,
        (FRAMES,),
    ),
    "array": (np.full((3, 4, 3), RED, np.uint8), RED, ()),
    "channels first": (np.full((4, 3, 3), 255, np.uint8)[:3], (255,) * 3, ()),
    "array of shares": (np.full((3, 4), 0.2), (51,) * 3, ()),
    "array of 16 bits": (np.full((3, 4, 1), 51400, np.uint16), (200,) * 3, ()),
    "object": (plain("RGB", RED), RED, ()),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_it_becomes_rgb_and_tells_what_that_loses(kind: str) -> None:
    content, colour, lost = KINDS[kind]
    image, told = decode(content)
    assert (image.mode, image.getpixel((1, 1)), told) == ("RGB", colour, lost)


def test_it_is_turned_as_exif_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter to the right
    assert decode(encoded(plain("RGB", RED, (8, 5)), "JPEG", exif=exif))[0].size == (5, 8)


WHOLE = encoded(tiny.picture("red", 0))
FAULTS: dict[str, tuple[Any, str]] = {
    "cut off": (WHOLE[: len(WHOLE) // 2], "cut off"),
    "text": (b"A fine film.", "something other than a picture"),
    "nothing": (b"", "something other than a picture"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n", "other than a picture"),
    "damaged": (WHOLE[:200] + b"\0" * 200 + WHOLE[400:], "damaged|cut off"),
    "a strip": (encoded(plain("L", 0, (1010, 10))), "a strip of 1010 × 10 pixels"),
    "no pixels": (np.zeros((0, 4, 3), np.uint8), "without pixels"),
    "four dimensions": (np.zeros((1, 2, 3, 3), np.uint8), r"none of \(H, W\)"),
    "numbers above 1": (np.full((3, 4), 7.0), "not from 0 to 1"),
    "whole numbers": (np.zeros((3, 4), np.int64), "uint8, uint16"),
    "long numbers": (Image.fromarray(np.full((3, 4), 70000, np.int32)), "more than 16 bits"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_what_cannot_be_read_says_why(kind: str) -> None:
    content, reason = FAULTS[kind]
    with pytest.raises(UnreadableError, match=reason):
        decode(content)


def test_a_picture_of_too_many_pixels_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UnreadableError, match=r"12 × 10 pixels, more than 100"):
        decode(encoded(plain("L", 0, (12, 10))))


@pytest.mark.parametrize(
    ("kind", "place", "size"),
    [
        ("PNG", 16, (50_000).to_bytes(4, "big") * 2),
        ("GIF", 6, b"\xff" * 4),
        ("BMP", 18, (50_000).to_bytes(4, "little") * 2),
        ("PPM", 3, b"50000 50000"),
    ],
)
def test_pixels_that_a_header_claims_are_not_waited_for(kind: str, place: int, size: bytes) -> None:
    data = bytearray(encoded(plain("L" if kind == "GIF" else "RGB", 0, (12, 10)), kind))
    data[place : place + (5 if kind == "PPM" else len(size))] = size
    if kind == "PNG":
        data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    with pytest.raises(UnreadableError, match="more than 89,478,485"):
        decode(bytes(data))


def read(frame: pd.DataFrame) -> Any:
    return ImageKind.read(frame, TASK, where="the rows", keep_empty=False)


def test_all_faults_are_told_together_by_row_and_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cut.png").write_bytes(WHOLE[: len(WHOLE) // 2])
    (tmp_path / "note.jpg").write_text("A fine film.")
    cells = [tiny.picture("red", 0), "cut.png", "note.jpg",
             "gone.png", None, 3.5, "https://example.com/a.png"]  # fmt: skip
    with pytest.raises(HeadstartError) as error:
        read(pd.DataFrame({"image": pd.Series(cells, dtype=object)}))
    told = str(error.value)
    for fault, row in (
        ("cut off", 2), ("other than a picture", 3), ("no such file", 4), ("no picture", 5),
        ("a float", 6), ("an address", 7),
    ):  # fmt: skip
        line = next(line for line in told.splitlines() if fault in line)
        assert f"1 row ({row})" in line
    assert "cut.png" in told and "gone.png" in told and "note.jpg" in told


def test_equal_pictures_are_equal_rows_wherever_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(WHOLE)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("in/b.png", WHOLE)
    cells = [str(tmp_path / "a.png"), f"{tmp_path}/b.zip/in/b.png", {"bytes": WHOLE, "path": None},
             WHOLE, encoded(tiny.picture("red", 1))]  # fmt: skip
    found = list(map(repr, read(pd.DataFrame({"image": pd.Series(cells, dtype=object)})).inputs))
    assert len(set(found[:4])) == 1
    assert found[4] != found[0]


def test_without_pillow_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(HeadstartError, match=r"pip install 'headstart\[image\]'"):
        _picture.pillow()
