"""What a file is, by its content: a picture, an animated picture or a video. Names end as they like."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from mien.errors import InputError
from mien.media.files import IMAGE_SUFFIXES
from mien.media.image import opened

Kind = Literal["image", "animation", "video"]

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".asf", ".flv", ".ts", ".mts", ".m2ts"}
    | {".3gp", ".3g2", ".ogv", ".mxf", ".vob"}
)
_HEAD = 4096  # bytes that are looked at
_PICTURES = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\xff\x4f\xff\x51",
    b"\0\0\0\x0cjP  ", b"8BPS", b"qoif", b"DDS ", b"icns",
)  # fmt: skip
_PORTABLE = re.compile(rb"P[1-6]\s")  # PBM, PGM, PPM
_VIDEOS = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"\0\0\x01\xba", b"\0\0\x01\xb3",  # MPEG programme and elementary streams
    b"\0\0\0\x01", b"\0\0\x01\x40", b"\0\0\x01\x67",  # H.264, H.265
    b"FLV\x01", b"OggS", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # Flash, Ogg, Windows Media
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02", b"nut/multimedia", b"DKIF",
)  # fmt: skip
_PICTURE_BRANDS = (b"avif", b"avis", b"mif1", b"msf1", b"miaf", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")
_SOUND_BRANDS = (b"M4A ", b"M4B ", b"M4P ")
_BOXES = (b"moov", b"mdat", b"free", b"wide", b"skip", b"pnot")  # with which old QuickTime files begin
_PACKET = 188  # bytes of an MPEG transport stream's


def kind_of(path: Path) -> Kind | None:
    """What a file is, by its content, or where that says nothing (it is damaged) by its suffix; None: none of these.

    A folder, or a file that is missing or cannot be read, is what its suffix says.
    """
    head = _head(path)
    if _is_picture(head) or (not _is_video(head) and _is_unmarked_picture(path, head)):
        return "animation" if _moves(path, head) else "image"
    if _is_video(head):
        return "video"
    if _is_known_other(head):
        return None
    suffix = path.suffix.lower()
    return "image" if suffix in IMAGE_SUFFIXES else "video" if suffix in VIDEO_SUFFIXES else None


def is_gif(path: Path) -> bool:
    """Whether a file is a GIF."""
    return _head(path).startswith(b"GIF8")


def files_of_kind(folder: Path, kinds: Sequence[Kind]) -> list[Path]:
    """The files of a folder that are of some kinds, by name; hidden ones are passed over.

    Args:
        folder: to look into.
        kinds: see `kind_of`.

    Raises:
        OSError: if the folder cannot be read.
    """
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and kind_of(path) in kinds)


def _head(path: Path) -> bytes:
    try:
        if not path.is_file():  # a pipe would be waited for
            return b""
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""


def _brands(head: bytes) -> list[bytes]:
    """The brands of an ISO media file: the major one, then those that it is compatible with."""
    length = min(int.from_bytes(head[:4], "big"), len(head))
    return [head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))]


def _is_picture(head: bytes) -> bool:
    if head[4:8] == b"ftyp":
        return _brands(head)[0] in _PICTURE_BRANDS
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    if head[:2] == b"BM":
        return head[6:10] == b"\0\0\0\0" or head[14:15] in (b"\x0c", b"\x28", b"\x6c", b"\x7c")
    return head.startswith(_PICTURES) or _PORTABLE.match(head) is not None


def _is_video(head: bytes) -> bool:
    if head[4:8] == b"ftyp":
        return _brands(head)[0] not in (*_PICTURE_BRANDS, *_SOUND_BRANDS)
    if head[:4] == b"RIFF":
        return head[8:11] == b"AVI"
    stamped = head[4 :: _PACKET + 4][:10]  # cameras put four bytes before every packet of a transport stream
    if _is_transport_stream(head) or (len(stamped) > 2 and set(stamped) == {ord("G")}):
        return True
    return head.startswith(_VIDEOS) or head[4:8] in _BOXES


def stream_format(path: Path) -> str | None:
    """FFmpeg's name of a format that it does not recognize surely enough under a picture's name; None for others."""
    head = _head(path)
    if not _is_video(head):
        return None
    if head.startswith(b"\0\0\x01\xba"):
        return "mpeg"
    return "mpegts" if _is_transport_stream(head) else None


def _is_transport_stream(head: bytes) -> bool:
    packets = head[::_PACKET][:10]
    return len(packets) > 2 and set(packets) == {ord("G")}


def _is_known_other(head: bytes) -> bool:
    """Sound, documents and archives whatever they are called."""
    if head[4:8] == b"ftyp":
        return True
    return head.startswith(
        (b"ID3", b"fLaC", b"RIFF", b"%PDF", b"%!PS", b"PK\x03\x04", b"\x1f\x8b", b"<!DOCTYPE", b"<html")
    )


def _is_unmarked_picture(path: Path, head: bytes) -> bool:
    """Whether Pillow knows the file: some formats, such as TGA, have no signature to be known by."""
    if not head or _is_known_other(head) or head.isascii():
        return False
    try:
        with opened(path):
            return True
    except InputError:
        return False


def _moves(path: Path, head: bytes) -> bool:
    """Whether a picture's file holds several that are shown one after the other."""
    if not head.startswith((b"GIF8", b"\x89PNG", b"RIFF")) and head[8:12] not in (b"avis", b"msf1", b"avif", b"mif1"):
        return False  # the pages of a TIFF and the views of an MPO are no animation
    try:
        with opened(path) as image:
            return int(getattr(image, "n_frames", 1)) - bool(image.info.get("default_image")) > 1
    except InputError:
        return False  # damaged; whoever reads it will say so
