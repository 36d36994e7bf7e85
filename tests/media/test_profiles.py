"""Pictures of other colour spaces than sRGB show the colours that were meant."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from mien.media import open_clip, read_alpha, read_image
from mien.media.hdr import HLG, PQ

P3 = 12
WANTED = np.array([[200, 60, 40], [90, 160, 70], [214, 164, 140], [30, 30, 30], [255, 255, 255]], np.uint8)
# Linear sRGB to linear Display P3
TO_P3 = np.array([[0.8225, 0.1774, 0.0], [0.0332, 0.9669, 0.0], [0.0171, 0.0724, 0.9105]])


def linear(values: np.ndarray) -> np.ndarray:
    """sRGB's curve (IEC 61966-2-1), 0 to 1."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def curved(light: np.ndarray) -> np.ndarray:
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def in_p3() -> np.ndarray:
    """`WANTED` as Display P3's code values, a row of squares uint8 [16, 80, 3]."""
    return squares(np.rint(255 * curved(linear(WANTED / 255) @ TO_P3.T)).astype(np.uint8))


def squares(colours: np.ndarray) -> np.ndarray:
    return np.repeat(np.repeat(colours[None], 16, 0), 16, 1)


def seen(path: Path) -> np.ndarray:
    """The colours in the middle of the squares."""
    return read_image(path)[8, 8::16].astype(int)


def display_p3() -> bytes:
    """An ICC profile (version 2) as phones embed it: three columns (D50) and sRGB's curve as a table."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    table = np.rint(65535 * linear(np.linspace(0, 1, 1024))).astype(">u2").tobytes()
    curve = b"curv\0\0\0\0" + struct.pack(">I", 1024) + table
    parts = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 11) + b"Display P3\0" + bytes(78),
        b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9642, 1.0, 0.8249),
        b"rXYZ": b"XYZ \0\0\0\0" + fixed(0.5151, 0.2412, -0.0011),
        b"gXYZ": b"XYZ \0\0\0\0" + fixed(0.2920, 0.6922, 0.0419),
        b"bXYZ": b"XYZ \0\0\0\0" + fixed(0.1571, 0.0666, 0.7841),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    table_of_contents, data = struct.pack(">I", len(parts)), b""
    begin = 128 + 4 + 12 * len(parts)
    for name, part in parts.items():
        table_of_contents += name + struct.pack(">II", begin + len(data), len(part))
        data += part + bytes(-len(part) % 4)
    head = struct.pack(">I4sI4s4s4s", begin + len(data), b"none", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(128 - len(head) - 16)
    head = head[:68] + fixed(0.9642, 1.0, 0.8249) + head[80:]
    return head + table_of_contents + data


def grey_profile(gamma: float) -> bytes:
    """An ICC profile of scanners' grey: one curve."""
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    white = b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in (0.9642, 1.0, 0.8249))
    contents = struct.pack(">I", 2) + b"wtpt" + struct.pack(">II", 156, 20) + b"kTRC" + struct.pack(">II", 176, 16)
    head = struct.pack(">I4sI4s4s4s", 192, b"none", 0x02100000, b"mntr", b"GRAY", b"XYZ ") + bytes(12) + b"acsp"
    return head + bytes(128 - len(head)) + contents + white + curve


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "avif", "jpg_large"])
def test_display_p3(tmp_path: Path, suffix: str) -> None:
    kind = {"jpg": "JPEG", "jpg_large": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper())
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {kind}")
    path = tmp_path / f"a.{suffix}"
    options = {"quality": 100, "lossless": True} if kind == "WEBP" else {"quality": 100} if kind != "PNG" else {}
    with path.open("wb") as file:
        Image.fromarray(in_p3()).save(file, kind, icc_profile=display_p3(), **options)
    assert np.abs(seen(path) - WANTED).max() <= 4
    (frame,) = open_clip(path)
    assert np.array_equal(frame, read_image(path))


@pytest.mark.parametrize("mode", ["RGBA", "P", "P with a clear colour", "RGB with a clear colour"])
def test_display_p3_in_every_mode(tmp_path: Path, mode: str) -> None:
    image, more = Image.fromarray(in_p3()), {}
    if mode == "RGBA":
        image.putalpha(Image.fromarray(np.full((16, 80), 255, np.uint8)))
    elif mode.startswith("P"):
        image = image.quantize(8)
        more = {"transparency": 7} if mode.endswith("colour") else {}
    else:
        more = {"transparency": (1, 2, 3)}
    image.save(tmp_path / "a.png", icc_profile=display_p3(), **more)
    assert np.abs(seen(tmp_path / "a.png") - WANTED).max() <= 4
    alpha = read_alpha(tmp_path / "a.png")
    assert (alpha is None) == (mode == "P") and (alpha is None or alpha.min() == 255)


def test_grey_with_a_profile(tmp_path: Path) -> None:
    for mode in ("L", "LA"):
        grey = Image.new("L", (4, 4), 128)
        if mode == "LA":
            grey.putalpha(255)
        grey.save(tmp_path / "a.png", icc_profile=grey_profile(1.0))
        # half of the light is 188 in sRGB
        assert np.abs(read_image(tmp_path / "a.png").astype(int) - 188).max() <= 1, mode
        grey.save(tmp_path / "b.png", icc_profile=display_p3())
        assert np.abs(read_image(tmp_path / "b.png").astype(int) - 128).max() <= 1, mode


def test_lab(tmp_path: Path) -> None:
    lab = ImageCms.profileToProfile(
        Image.fromarray(squares(WANTED)),
        ImageCms.createProfile("sRGB"),
        ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )
    assert lab is not None
    lab.save(tmp_path / "a.tif")
    assert np.abs(seen(tmp_path / "a.tif") - WANTED).max() <= 4


def test_cmyk_jpeg(tmp_path: Path) -> None:
    Image.fromarray(squares(WANTED)).convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    assert np.abs(seen(tmp_path / "a.jpg") - WANTED).max() <= 4


def png_with(path: Path, name: bytes, data: bytes, pixels: np.ndarray) -> Path:
    """A PNG with one more chunk in front of its pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    content = buffer.getvalue()
    chunk = struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    path.write_bytes(content[:33] + chunk + content[33:])
    return path


def test_png_with_code_points(tmp_path: Path) -> None:
    """The cICP chunk (PNG, third edition, 11.3.2.6): Display P3, then PQ and HLG as screenshots of HDR have them."""
    path = png_with(tmp_path / "a.png", b"cICP", bytes([P3, 13, 0, 1]), in_p3())
    assert np.abs(seen(path) - WANTED).max() <= 5
    light = (WANTED / 255.0) ** 2.4
    powered = (light * 203 / 10_000) ** 0.1593017578125
    codes = ((0.8359375 + 18.8515625 * powered) / (1 + 18.6875 * powered)) ** 78.84375
    path = png_with(tmp_path / "b.png", b"cICP", bytes([1, PQ, 0, 1]), squares(np.rint(255 * codes).astype(np.uint8)))
    assert np.abs(seen(path) - WANTED).max() <= 8  # PQ in 8 bits is coarse
    scene = light ** (1 / 1.2)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    codes = np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)
    path = png_with(tmp_path / "c.png", b"cICP", bytes([1, HLG, 0, 1]), squares(np.rint(255 * codes).astype(np.uint8)))
    assert np.abs(seen(path) - WANTED).max() <= 5
    path = png_with(tmp_path / "d.png", b"cICP", bytes([1, 13, 0, 1]), squares(WANTED))
    assert np.array_equal(seen(path), WANTED)


def test_adobe_rgb_without_a_profile(tmp_path: Path) -> None:
    """Cameras say it by EXIF's interoperability index (DCF 2.0, 3.7.1)."""
    wide = linear(WANTED / 255) @ np.linalg.inv(np.array([[1.39836, -0.39836, 0], [0, 1, 0], [0, -0.04293, 1.04293]])).T
    image = Image.fromarray(squares(np.rint(255 * np.clip(wide, 0, 1) ** (256 / 563)).astype(np.uint8)))
    exif = Image.Exif()
    exif[0x8769] = {0xA001: 65535, 0xA005: {1: "R03"}}
    image.save(tmp_path / "a.jpg", quality=100, subsampling=0, exif=exif)
    assert np.abs(seen(tmp_path / "a.jpg") - WANTED).max() <= 5


def test_profiles_that_do_not_fit_are_ignored(tmp_path: Path) -> None:
    for number, profile in enumerate((b"nothing", grey_profile(2.2), display_p3()[:200])):
        Image.fromarray(squares(WANTED)).save(tmp_path / f"{number}.png", icc_profile=profile)
        assert np.array_equal(seen(tmp_path / f"{number}.png"), WANTED)
