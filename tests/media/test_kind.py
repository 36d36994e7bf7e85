"""A file is what its content says, whatever it is called."""

from __future__ import annotations

import io
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from media_samples import corners, make_video, make_wav, number_of, numbered
from mien.errors import InputError
from mien.media import open_clip, read_image, write_image
from mien.media.kind import files_of_kind, kind_of

FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM", "TGA", "JPEG2000", "PCX", "SGI")
CONTAINERS = {"mp4": "libx264", "mov": "libx264", "mkv": "libx264", "webm": "libvpx-vp9", "avi": "mpeg4"}
CONTAINERS |= {
    "ts": "libx264",
    "mpg": "mpeg2video",
    "flv": "libx264",
    "ogv": "libtheora",
    "wmv": "wmv2",
    "mxf": "mpeg2video",
}
NAMES = ("picture", "picture.jpg_large", "picture.mp4", "picture.txt", "picture.php?size=large")


def supported(name: str) -> bool:
    Image.init()
    return name in Image.SAVE


@pytest.mark.parametrize("name", FORMATS)
def test_pictures_are_known_by_their_content(tmp_path: Path, name: str) -> None:
    if not supported(name):
        pytest.skip(f"this Pillow writes no {name}")
    buffer = io.BytesIO()
    Image.fromarray(corners()).save(buffer, name)
    for called in NAMES:
        path = tmp_path / called
        path.write_bytes(buffer.getvalue())
        assert kind_of(path) == "image", called
        clip = open_clip(path)
        assert clip.info.kind == "image" and (clip.info.width, clip.info.height) == (64, 32)
        (frame,) = clip
        assert np.abs(frame[5, 5].astype(int) - corners()[5, 5]).max() < 30
        assert np.array_equal(frame, read_image(path))


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_videos_are_known_by_their_content(tmp_path: Path, suffix: str) -> None:
    frames = [numbered(4 * i) for i in range(3)]
    try:
        made = make_video(tmp_path / f"a.{suffix}", frames, codec=CONTAINERS[suffix])
    except ValueError:
        pytest.skip(f"this FFmpeg has no {CONTAINERS[suffix]}")
    for called in ("a", "a.png", "a.jpeg"):
        path = Path(shutil.copy(made, tmp_path / called))
        assert kind_of(path) == "video"
        clip = open_clip(path)
        assert clip.info.kind == "video"
        assert [number_of(frame) for frame in clip][0] == 0


def test_other_files_are_neither(tmp_path: Path) -> None:
    for name, content in {
        "notes.txt": b"hello",
        "paper.png": b"%PDF-1.7\n",
        "drawing.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "song.mp4": b"ID3\x04\0\0\0\0",
        "page.mp4": b"<!DOCTYPE html><html></html>",
        "archive.mov": b"PK\x03\x04rest",
    }.items():
        (tmp_path / name).write_bytes(content)
        assert kind_of(tmp_path / name) is None, name
        with pytest.raises(InputError, match=name.partition(".")[0]):
            open_clip(tmp_path / name)
    assert kind_of(make_wav(tmp_path / "a.mp4", Fraction(1, 10))) is None
    assert kind_of(tmp_path) is None and kind_of(tmp_path / "gone") is None


def test_where_the_content_says_nothing_the_name_does(tmp_path: Path) -> None:
    for name, kind in {"a.png": "image", "a.JPG": "image", "a.mp4": "video", "a.MKV": "video", "a": None}.items():
        (tmp_path / name).write_bytes(b"\x91\x17" * 40)
        assert kind_of(tmp_path / name) == kind
        assert kind_of(tmp_path / "missing" / name) == kind


def test_a_heic_picture_is_told_from_a_video_and_how_to_go_on(tmp_path: Path) -> None:
    path = tmp_path / "IMG_0001.mov"
    path.write_bytes(b"\0\0\0\x24ftypheic\0\0\0\0mif1MiHEmiafheic" + b"\0" * 200)
    assert kind_of(path) == "image"
    for read in (read_image, open_clip):
        with pytest.raises(InputError, match=r"IMG_0001\.mov is a HEIC picture.*JPEG"):
            read(path)


def test_programs_in_pictures_are_not_run(tmp_path: Path) -> None:
    """EPS would start another program."""
    path = tmp_path / "a.png"
    Image.fromarray(corners()).save(path, "EPS")
    with pytest.raises(InputError, match=r"a\.png is not an image this program can read"):
        read_image(path)


def test_a_folder_s_pictures_and_videos(tmp_path: Path) -> None:
    write_image(tmp_path / "b.png", corners()).rename(tmp_path / "b")
    make_video(tmp_path / "a.mp4", [numbered(1)])
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / ".hidden.png").write_bytes((tmp_path / "b").read_bytes())
    assert [path.name for path in files_of_kind(tmp_path, ("image",))] == ["b"]
    assert [path.name for path in files_of_kind(tmp_path, ("image", "video"))] == ["a.mp4", "b"]
    (tmp_path / "a.mp4").unlink()
    assert open_clip(tmp_path).count() == 1
