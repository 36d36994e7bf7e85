"""Pictures in other colour spaces than sRGB, turned into it: by ICC profile, by code points (CICP), by camera tags."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image, ImageCms

from mien.media.hdr import ColourSpace, ToBT709, coded_space, exposed_by

_HEAD = 1 << 16  # bytes of an AVIF file before its pixels
_CAMERA, _INTEROPERABILITY, _INDEX = 0x8769, 0xA005, 1  # EXIF: two directories, and a tag in the second
# Adobe RGB (1998), 4.3.4: linear light to XYZ (D65), times XYZ to BT.709
_ADOBE_TO_SRGB = np.array([[1.39836, -0.39836, 0.0], [0.0, 1.0, 0.0], [0.0, -0.04293, 1.04293]], np.float32)
_ADOBE_GAMMA = 563 / 256


def to_srgb(image: Image.Image, path: Path) -> Image.Image:
    """An image of 8 bits a channel in sRGB, in mode RGB or RGBA wherever its colours had to change.

    Phones tag Display P3, scanners and print CMYK, cameras Adobe RGB, HDR screenshots PQ. A profile that cannot be used
    is ignored, as other viewers do.

    Args:
        image: as Pillow opens it.
        path: its file, for what Pillow does not read.
    """
    profile = image.info.get("icc_profile")
    if profile or image.mode == "LAB":
        return _by_profile(image, profile)
    space = _coded_space(image, path)
    if space is not None:
        return _on_colours(image, lambda pixels: _by_space(pixels, space))
    return _on_colours(image, _from_adobe_rgb) if _is_adobe_rgb(image) else image


def png_chunks(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Name and data of the small chunks of a PNG file (each: length, name, data, checksum), those of pixels passed."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
            length = int.from_bytes(head[:4], "big")
            small = head[4:] in (b"eXIf", b"cICP")
            yield head[4:], file.read(length) if small else b""
            file.seek(4 if small else length + 4, 1)


def _by_profile(image: Image.Image, profile: bytes | None) -> Image.Image:
    try:
        if image.mode == "LAB":
            source = ImageCms.createProfile("LAB")
            return _transformed(image, source)
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile or b""))
        kind = opened.profile.xcolor_space.strip()
        if kind == "CMYK":
            return _transformed(image, opened) if image.mode == "CMYK" else image
        if kind == "GRAY" and image.mode in ("L", "LA"):
            grey = _transformed(image.convert("L") if image.mode == "L" else image.getchannel("L"), opened)
            return _with_alpha(grey, image.getchannel("A") if image.mode == "LA" else None)
        if kind != "RGB" or image.mode == "CMYK":
            return image
        return _on_colours(image, lambda pixels: np.asarray(_transformed(Image.fromarray(pixels), opened)))
    except (ImportError, OSError, ValueError, TypeError, ImageCms.PyCMSError):  # a Pillow without it: ImportError
        return image


def _transformed(image: Image.Image, source: ImageCms.ImageCmsProfile | ImageCms.core.CmsProfile) -> Image.Image:
    made = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    return image if made is None else made


def _on_colours(image: Image.Image, change: Callable[[np.ndarray], np.ndarray]) -> Image.Image:
    """The image with `change` applied to its colours uint8 [h, w, 3]; transparency stays as it is."""
    transparent = "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa")
    if image.mode in ("La", "RGBa"):  # premultiplied; Pillow converts these only to their own straight kind
        image = image.convert("RGBA" if image.mode == "RGBa" else "LA")
    if not transparent:
        return Image.fromarray(change(np.asarray(image.convert("RGB"))))
    straight = image.convert("RGBA")
    return _with_alpha(Image.fromarray(change(np.asarray(straight.convert("RGB")))), straight.getchannel("A"))


def _with_alpha(image: Image.Image, alpha: Image.Image | None) -> Image.Image:
    if alpha is not None:
        image.putalpha(alpha)
    return image


def _coded_space(image: Image.Image, path: Path) -> ColourSpace | None:
    """By the code points (primaries and transfer, ITU-T H.273) that PNG and AVIF files may carry."""
    try:
        if image.format == "PNG":
            data = next((data for name, data in png_chunks(path) if name == b"cICP"), b"")
            return coded_space(data[1], data[0]) if len(data) == 4 else None
        if image.format == "AVIF":
            with path.open("rb") as file:
                _, found, rest = file.read(_HEAD).partition(b"colrnclx")
            if found:
                return coded_space(int.from_bytes(rest[2:4], "big"), int.from_bytes(rest[:2], "big"))
    except OSError:
        pass
    return None


def _by_space(pixels: np.ndarray, space: ColourSpace) -> np.ndarray:
    height, width = pixels.shape[:2]
    stride = max(1, max(height, width) // 640)
    space = exposed_by(space, [pixels[::stride, ::stride] / 255.0])
    frame = av.VideoFrame.from_ndarray(pixels.astype(np.uint16) * 257, format="rgb48le")
    return ToBT709(space, width, height)(frame)


def _is_adobe_rgb(image: Image.Image) -> bool:
    """Whether a camera says so without a profile: the DCF's optional colour space, interoperability index R03."""
    if image.format not in ("JPEG", "MPO", "TIFF"):
        return False
    try:
        exif = image.getexif()
        index = exif.get_ifd(_INTEROPERABILITY).get(_INDEX) if _INTEROPERABILITY in exif.get_ifd(_CAMERA) else None
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):
        return False  # tags that cannot be read say nothing
    return isinstance(index, (str, bytes)) and index[:3] in ("R03", b"R03")


def _from_adobe_rgb(pixels: np.ndarray) -> np.ndarray:
    linear = np.linspace(0, 1, 256, dtype=np.float32) ** _ADOBE_GAMMA
    light = np.clip(cv2.transform(linear[pixels], _ADOBE_TO_SRGB), 0, 1)
    coded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(coded * 255).astype(np.uint8)
