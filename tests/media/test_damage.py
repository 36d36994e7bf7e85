"""Files that are not what they should be: one sentence for the user, or the frames that are left."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from media_samples import cut, make_video, number_of, numbered
from mien.errors import InputError
from mien.media import open_clip


@pytest.fixture
def noisy(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Makes videos whose bytes are spread evenly over their frames, numbers readable in the corner."""

    def make(name: str, codec: str = "libx264", **options: str) -> Path:
        rng, frames = np.random.default_rng(0), []
        for i in range(40):
            frame = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            frame[:32, :32] = numbered(i)[0, 0]
            frames.append(frame)
        layout = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        coding = {"crf": "30"} | ({"libx264": {"g": "10"}, "libvpx-vp9": {"b": "0"}, "mjpeg": {}}[codec])
        return make_video(
            tmp_path / name, frames, codec=codec, pixel_format=layout, options=coding, container_options=options
        )

    return make


@pytest.mark.parametrize("name", ["gone.mp4", "gone.png", "gone"])
def test_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name} does not exist"):
        open_clip(tmp_path / name)


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "a.png"])
def test_empty(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=f"{name} is empty"):
        open_clip(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(InputError, match="device or a pipe"):
        open_clip(tmp_path / "a.mp4")


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif", "a.png", "a.txt"])
def test_text(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("Dear diary, today I was named like a film.\n" * 40)
    with pytest.raises(InputError, match=name):
        open_clip(tmp_path / name)


def test_a_playlist_may_not_name_other_files(tmp_path: Path) -> None:
    make_video(tmp_path / "secret.ts", [numbered(0)] * 3)
    (tmp_path / "a.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(InputError, match="not a video"):
        open_clip(tmp_path / "a.mp4")


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"movflags": "faststart"}),
        ("a.mov", "mjpeg", {"movflags": "faststart"}),
        ("a.mkv", "libx264", {}),
        ("a.webm", "libvpx-vp9", {}),
    ],
)
def test_a_cut_tail_costs_the_tail_and_is_reported(noisy, tmp_path, name, codec, options) -> None:  # type: ignore[no-untyped-def]
    whole = noisy(name, codec, **options)
    clip = open_clip(cut(whole, tmp_path / f"cut_{name}", 0.6))
    numbers = []
    for frame, original in zip(clip, open_clip(whole), strict=False):
        assert np.array_equal(frame, original)  # nothing half decoded
        numbers.append(number_of(frame))
    assert 10 < len(numbers) < 35
    assert numbers == list(range(len(numbers)))
    assert clip.count() == len(numbers) == clip.info.frames
    assert len(clip.warnings) == 1
    assert f"cut_{name}" in clip.warnings[0] and "cut off" in clip.warnings[0]
    list(clip)
    assert len(clip.warnings) == 1


def test_a_cut_tail_is_counted_before_reading(noisy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    clip = open_clip(cut(noisy("a.mp4", movflags="faststart"), tmp_path / "b.mp4", 0.5))
    assert clip.count() == len(list(clip)) < 40


def test_an_mp4_cut_before_its_table_cannot_be_read(noisy, tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=r"b\.mp4 .*cut off"):
        open_clip(cut(noisy("a.mp4"), tmp_path / "b.mp4", 0.7))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_bytes_overwritten_in_the_middle_never_raise(noisy, name) -> None:  # type: ignore[no-untyped-def]
    path = noisy(name, **({"movflags": "faststart"} if name == "a.mp4" else {}))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 1500] = np.random.default_rng(1).integers(0, 255, 1500, dtype=np.uint8).tobytes()
    path.write_bytes(bytes(data))
    clip = open_clip(path)
    frames = list(clip)
    assert 20 <= len(frames) <= 40
    assert number_of(frames[0]) == 0 and number_of(frames[-1]) == 39
    assert clip.count() == len(frames)


@pytest.mark.parametrize("part", [0.02, 0.1, 0.3])
def test_a_table_without_its_frames_is_refused_or_partly_read(noisy, tmp_path, part) -> None:  # type: ignore[no-untyped-def]
    path = cut(noisy("a.mp4", movflags="faststart"), tmp_path / "b.mp4", part)
    try:
        assert 0 < len(list(open_clip(path))) < 40
    except InputError as error:
        assert "b.mp4" in str(error)


def test_a_video_of_no_frames(tmp_path: Path) -> None:
    source = make_video(
        tmp_path / "a.mp4", [numbered(i) for i in range(5)], container_options={"movflags": "faststart"}
    )
    data = source.read_bytes()
    start = data.index(b"mdat") + 4
    source.write_bytes(data[:start] + bytes(len(data) - start))
    with pytest.raises(InputError, match=r"a\.mp4 has no frame"):
        open_clip(source)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", [numbered(0)])
    path.chmod(0)
    with pytest.raises(InputError, match="permission"):
        open_clip(path)


def test_permission_errors_become_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_video(tmp_path / "a.mp4", [numbered(0)])

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"a\.mp4 cannot be read: there is no permission"):
        open_clip(path)
