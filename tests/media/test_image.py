"""Images in every mode, and images written whole or not at all."""

from __future__ import annotations

import errno
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from media_samples import corners
from mien.errors import InputError, OutputError
from mien.media import read_alpha, read_image, write_image
from mien.media.image import image_size


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def one(values: object, mode: str) -> Image.Image:
    """A 4 x 3 image of one colour."""
    return Image.new(mode, (4, 3), values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "image", "wanted"),
    [
        ("rgb.png", one((10, 20, 30), "RGB"), (10, 20, 30)),
        ("grey.png", one(77, "L"), (77, 77, 77)),
        ("bit.png", one(1, "1"), (255, 255, 255)),
        ("palette.png", one((200, 10, 60), "RGB").quantize(4), (200, 10, 60)),
        ("grey_alpha.png", one((100, 128), "LA"), (177, 177, 177)),
        ("alpha.png", one((255, 0, 0, 128), "RGBA"), (255, 127, 127)),
        ("clear.png", one((9, 9, 9, 0), "RGBA"), (255, 255, 255)),
        ("opaque.png", one((9, 8, 7, 255), "RGBA"), (9, 8, 7)),
        ("cmyk.tif", one((0, 255, 255, 0), "CMYK"), (255, 0, 0)),
        ("float.tif", one(0.5, "F"), (128, 128, 128)),
        ("deep.png", Image.fromarray(np.full((3, 4), 257 * 90, np.uint16)), (90, 90, 90)),
        ("deep.tif", Image.fromarray(np.full((3, 4), 257 * 91, np.uint16)), (91, 91, 91)),
        ("lossless.webp", one((10, 20, 30), "RGB"), (10, 20, 30)),
    ],
)
def test_every_mode_becomes_rgb(tmp_path: Path, name: str, image: Image.Image, wanted: tuple[int, int, int]) -> None:
    pixels = read_image(save(tmp_path / name, image, **({"lossless": True} if name.endswith("webp") else {})))
    assert pixels.dtype == np.uint8 and pixels.shape == (3, 4, 3)
    assert np.abs(pixels.astype(int) - wanted).max() <= 1


def test_sixteen_bit_colour_with_alpha(tmp_path: Path) -> None:
    """RGBA of 16 bits a channel, which Pillow cannot write: a 2 x 1 PNG made by hand."""
    row = b"\0" + struct.pack(">8H", 40000, 0, 0, 65535, 40000, 0, 0, 0)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 6, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    )
    assert np.abs(read_image(tmp_path / "a.png")[0].astype(int) - [(155, 0, 0), (255, 255, 255)]).max() <= 1
    alpha = read_alpha(tmp_path / "a.png")
    assert alpha is not None and alpha.tolist() == [[255, 0]]


def test_alpha(tmp_path: Path) -> None:
    ramp = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    path = write_image(tmp_path / "a.png", np.dstack([np.full((3, 4, 3), 200, np.uint8), ramp]))
    alpha = read_alpha(path)
    assert alpha is not None and alpha.dtype == np.uint8 and np.array_equal(alpha, ramp)
    assert np.abs(read_image(path)[..., 0] - (255 - 55 * (ramp / 255.0))).max() <= 0.5
    assert read_alpha(write_image(tmp_path / "b.png", corners())) is None


def test_palette_and_key_colour_transparency(tmp_path: Path) -> None:
    flat = Image.new("P", (2, 1))
    flat.putpalette([200, 0, 0, 0, 200, 0])
    flat.putpixel((1, 0), 1)
    path = save(tmp_path / "a.png", flat, transparency=0)
    assert read_image(path)[0].tolist() == [[255, 255, 255], [0, 200, 0]]
    keyed = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    path = save(tmp_path / "b.png", keyed, transparency=(1, 2, 3))
    assert read_image(path)[0].tolist() == [[255, 255, 255], [4, 5, 6]]
    alpha = read_alpha(path)
    assert alpha is not None and alpha.tolist() == [[0, 255]]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("code", range(1, 9))
def test_exif_orientation(tmp_path: Path, suffix: str, code: int) -> None:
    undo = {
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.transpose(1, 0, 2),
        6: lambda x: np.rot90(x, 1),
        7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
        8: lambda x: np.rot90(x, -1),
    }[code]
    exif = Image.Exif()
    exif[0x0112] = code
    stored = Image.fromarray(np.ascontiguousarray(undo(corners())))
    path = save(tmp_path / f"a.{suffix}", stored, exif=exif, quality=98)
    pixels = read_image(path)
    assert pixels.shape == corners().shape and image_size(path) == (64, 32)
    for y in (5, -6):
        for x in (5, -6):
            assert np.abs(pixels[y, x].astype(int) - corners()[y, x]).max() < 12


def test_colour_profiles_are_converted(tmp_path: Path) -> None:
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = save(tmp_path / "a.png", one((120, 60, 30), "RGB"), icc_profile=plain)
    assert np.abs(read_image(path).astype(int) - (120, 60, 30)).max() <= 1
    # Where the profile's table of contents calls red green and green red, so does the image.
    swapped = plain.replace(b"rXYZ", b"?XYZ", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"?XYZ", b"gXYZ", 1)
    path = save(tmp_path / "c.png", one((120, 60, 30), "RGB"), icc_profile=swapped)
    assert np.abs(read_image(path).astype(int) - (60, 120, 30)).max() <= 2
    broken = save(tmp_path / "b.png", one((120, 60, 30), "RGB"), icc_profile=b"no profile at all")
    assert read_image(broken)[0, 0].tolist() == [120, 60, 30]


def test_one_pixel(tmp_path: Path) -> None:
    assert read_image(save(tmp_path / "a.png", Image.new("RGB", (1, 1), (1, 2, 3)))).tolist() == [[[1, 2, 3]]]


def test_large_images_are_read_and_bombs_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_image(tmp_path / "a.png", np.zeros((40, 40, 3), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert read_image(path).shape == (40, 40, 3)  # above the limit that only warns
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match="too many pixels"):
        read_image(path)


def test_bad_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.png does not exist"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(InputError, match="is a folder"):
        read_image(tmp_path)
    (tmp_path / "empty.jpg").write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        read_image(tmp_path / "empty.jpg")
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(InputError, match=r"text\.jpg is not an image"):
        read_image(tmp_path / "text.jpg")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for suffix in ("png", "jpg", "webp", "bmp", "tif"):
        data = write_image(tmp_path / f"whole.{suffix}", noise).read_bytes()
        (tmp_path / f"half.{suffix}").write_bytes(data[: len(data) // 2])
        with pytest.raises(InputError, match=rf"half\.{suffix}"):
            read_image(tmp_path / f"half.{suffix}")


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff"])
def test_lossless_images_come_back(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (7, 5, 3), dtype=np.uint8)
    assert np.array_equal(read_image(write_image(tmp_path / f"a.{suffix}", noise)), noise)
    grey = read_image(write_image(tmp_path / f"g.{suffix}", noise[..., 0]))
    assert np.array_equal(grey, np.repeat(noise[..., :1], 3, axis=2))


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "webp"])
def test_lossy_images_come_close(tmp_path: Path, suffix: str) -> None:
    pixels = read_image(write_image(tmp_path / f"a.{suffix}", corners()))
    assert np.abs(pixels[5, 5].astype(int) - corners()[5, 5]).max() <= 4


def test_jpeg_lays_transparency_over_white(tmp_path: Path) -> None:
    clear = np.zeros((16, 16, 4), np.uint8)
    assert read_image(write_image(tmp_path / "a.jpg", clear)).min() > 250


def test_writing_makes_folders_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = write_image(tmp_path / "new" / "deep" / "a.png", corners())
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_image(tmp_path / "a.png", corners())
    before = path.read_bytes()
    for error, raised in (
        (OSError(errno.ENOSPC, "No space left"), OutputError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ):

        def fail(*_: object, error: BaseException = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(Image.Image, "save", fail)
        with pytest.raises(raised):
            write_image(path, np.zeros((4, 4, 3), np.uint8))
        assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_unusable_targets_are_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a\.xyz cannot be written: choose a name that ends in one of \.png"):
        write_image(tmp_path / "a.xyz", corners())
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        write_image(tmp_path / "file" / "a.png", corners())
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OutputError, match="a folder of that name"):
        write_image(tmp_path / "folder.png", corners())


@pytest.mark.parametrize("wrong", [np.zeros((4, 4, 3)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4, 3), np.uint8)])
def test_arrays_that_are_no_images(tmp_path: Path, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="an image"):
        write_image(tmp_path / "a.png", wrong)
    assert list(tmp_path.iterdir()) == []
