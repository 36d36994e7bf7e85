"""Still images through Pillow: any mode in, uint8 RGB out."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from mien.errors import InputError, OutputError
from mien.media.colour import over_white
from mien.media.files import readable_file, unreadable, whole_file
from mien.media.profiles import png_chunks, to_srgb

_SAVE_OPTIONS: dict[str, dict[str, object]] = {
    ".png": {"format": "PNG"},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".webp": {"format": "WEBP", "quality": 95},
    ".bmp": {"format": "BMP"},
    ".tif": {"format": "TIFF"},
    ".tiff": {"format": "TIFF"},
}
_DESCRIPTION = 0x010E  # EXIF's tag
# What Pillow is let open: pixels. Formats that hold programs or drawings (EPS, PDF, WMF) are not among them.
_FORMATS = (
    *("PNG", "JPEG", "MPO", "WEBP", "GIF", "AVIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "TGA"),
    *("ICO", "ICNS", "PCX", "SGI", "PSD", "QOI", "DDS"),
)
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")


def read_image(path: str | Path) -> np.ndarray:
    """Read an image as RGB, upright.

    EXIF orientation is applied, an embedded colour profile is converted to sRGB, transparency is laid over white, grey,
    palette, 16-bit, floating-point (in [0, 1]) and CMYK images are converted. Of an animation the first picture
    is read.

    Returns:
        uint8 ``[height, width, 3]``.

    Raises:
        InputError: if the file is missing, no image, damaged, or beyond Pillow's limit for hostile files.
    """
    with opened(Path(path)) as image:
        pixels = upright_pixels(image, Path(path))
    return over_white(pixels) if pixels.shape[2] == 4 else pixels


def read_alpha(path: str | Path) -> np.ndarray | None:
    """Read the opacity of an image, upright.

    Returns:
        uint8 ``[height, width]``, 255 is opaque; None if it stores none.
    """
    with opened(Path(path)) as image:
        if not _transparent(image):
            return None
        return np.ascontiguousarray(upright_pixels(image, Path(path))[..., 3])


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image after EXIF orientation, from its header alone.

    Raises:
        InputError: if the file cannot be read.
    """
    with opened(path) as image:
        width, height = image.size
        # Asked for EXIF, Pillow decodes a whole PNG to look behind the pixels; a folder may hold thousands.
        tagged = image.format != "PNG" or any(name == b"eXIf" for name, _ in png_chunks(path))
        turned = tagged and image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    return (height, width) if turned else (width, height)


def write_image(path: str | Path, image: np.ndarray, comment: str | None = None) -> Path:
    """Write an image; the suffix chooses the format, and it appears whole or not at all.

    JPEG and BMP store no transparency, which is then laid over white.

    Args:
        path: of the file; a missing folder is made.
        image: uint8 ``[h, w, 3]`` RGB, ``[h, w, 4]`` RGBA or ``[h, w]`` grey.
        comment: stored as EXIF's image description, in PNG as text as well; BMP has no place for it.

    Returns:
        The path.

    Raises:
        OutputError: if it cannot be written.
        ValueError: if the array does not fit.
    """
    path, pixels = Path(path), np.asarray(image)
    options = _SAVE_OPTIONS.get(path.suffix.lower())
    if options is None:
        known = ", ".join(_SAVE_OPTIONS)
        raise OutputError(f"{path} cannot be written: choose a name that ends in one of {known}.")
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise ValueError(f"an image is uint8 [h, w], [h, w, 3] or [h, w, 4], not {pixels.dtype} {pixels.shape}")
    if 0 in pixels.shape:
        raise ValueError(f"an image has at least one pixel, not {pixels.shape}")
    if pixels.ndim == 3 and pixels.shape[2] == 4 and options["format"] in ("JPEG", "BMP"):
        pixels = over_white(pixels)
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    with whole_file(path) as temporary:
        picture.save(temporary, **options, **_comment_options(comment, str(options["format"])))  # type: ignore[arg-type]
    return path


def read_comment(path: str | Path) -> str | None:
    """What `write_image` stored as a comment, or any image description; None if there is none.

    Raises:
        InputError: if the file cannot be read.
    """
    with opened(Path(path)) as image:
        text = image.info.get("Comment") or image.getexif().get(_DESCRIPTION)
    return text if isinstance(text, str) and text else None


def _comment_options(comment: str | None, kind: str) -> dict[str, object]:
    """What Pillow's `save` is told."""
    if comment is None or kind == "BMP":
        return {}
    exif = Image.Exif()
    exif[_DESCRIPTION] = comment
    if kind != "PNG":
        return {"exif": exif}
    text = PngInfo()
    text.add_itxt("Comment", comment)
    return {"exif": exif, "pnginfo": text}


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open an image by its content; everything that Pillow raises, now or while it decodes, becomes InputError."""
    readable_file(path, "image file")
    try:
        with warnings.catch_warnings():
            # Large photographs are welcome; beyond twice this limit Pillow raises an error, and that stays.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=picture_formats()) as image:
                yield image
    except Image.DecompressionBombError as error:
        raise InputError(f"{path} has too many pixels to be read safely; scale it down first.") from error
    except UnidentifiedImageError as error:
        if _is_heif(path):
            raise InputError(
                f"{path} is a HEIC picture, which this program cannot read: save it as JPEG or PNG (iPhones take JPEG"
                " with Settings, Camera, Formats, Most Compatible)."
            ) from error
        raise InputError(f"{path} is not an image this program can read; save it as PNG or JPEG.") from error
    except PermissionError as error:
        raise unreadable(path, error) from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError) as error:
        # Pillow's decoders raise all of these on damaged files.
        raise InputError(f"{path} is damaged ({error}); save or download it again.") from error
    except MemoryError as error:
        raise InputError(f"{path} does not fit in memory; scale it down first.") from error


def picture_formats() -> list[str]:
    """The formats that are read, by Pillow's names."""
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _is_heif(path: Path) -> bool:
    """Whether the brands at the head of an ISO media file are those of pictures in H.265."""
    with path.open("rb") as file:
        head = file.read(64)
    return head[4:8] == b"ftyp" and any(head[at : at + 4] in _HEIF_BRANDS for at in range(8, 64, 4))


def _transparent(image: Image.Image) -> bool:
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info


def upright_pixels(image: Image.Image, path: Path) -> np.ndarray:
    """sRGB of an opened image, upright.

    Args:
        image: as `opened` gives it.
        path: of its file.

    Returns:
        uint8 ``[h, w, 3]``, or ``[h, w, 4]`` (straight alpha) if the image stores transparency.
    """
    name = image.format
    image = ImageOps.exif_transpose(image)
    image.format = name
    if image.mode.startswith(("I", "F")):
        grey = _wide_grey(np.asarray(image))
        pixels = np.repeat(grey[..., None], 3, axis=2)
        if "transparency" not in image.info:
            return pixels
        opaque = (np.asarray(image) != image.info["transparency"]).astype(np.uint8) * 255
        return np.dstack([pixels, opaque])
    profiled = to_srgb(image, path)
    if image.mode in ("La", "RGBa"):  # premultiplied; Pillow converts these only to their own straight kind
        profiled = profiled.convert("RGBA" if image.mode == "RGBa" else "LA")
    return np.array(profiled.convert("RGBA" if _transparent(image) or profiled.mode == "RGBA" else "RGB"))


def _wide_grey(values: np.ndarray) -> np.ndarray:
    """Grey levels of 16 or 32 bits, or floating point, to uint8. Pillow also keeps 16-bit files in 32-bit arrays."""
    levels = np.nan_to_num(values.astype(np.float64))
    if np.issubdtype(values.dtype, np.floating):
        levels *= 255.0 if levels.max(initial=0.0) <= 1.0 else 1.0
    else:
        levels *= 255.0 / (65535 if levels.max(initial=0.0) <= 65535 else 2**31 - 1)
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)
