"""Writing videos: exact rates and counts, colours, sizes, and whole files or none."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from media_samples import (
    HEIGHT,
    WIDTH,
    make_video,
    number_of,
    numbered,
    patch_error,
    patches,
    streams_of,
)
from mien.errors import OutputError
from mien.media import VideoWriter, open_clip, write_video

RATES = [Fraction(25), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(15), Fraction(25, 2), Fraction(60)]
UNEVEN = [Fraction(n, 12800) for n in (0, 400, 1100, 1300, 2500, 2900, 3000, 4100)]


@pytest.mark.parametrize("rate", [*RATES, Fraction(1, 2), Fraction(123457, 5000)])
@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_rate_and_count_are_exact(tmp_path: Path, suffix: str, rate: Fraction) -> None:
    path = write_video(tmp_path / f"a.{suffix}", (numbered(i) for i in range(23)), rate)
    found = streams_of(path)
    assert found["rate"] == rate and found["frames"] == list(range(23)) and found["codec"] == "h264"
    clip = open_clip(path)
    assert clip.info.rate == rate and clip.count() == 23 and not clip.info.variable_rate
    assert clip.info.duration == 23 / rate
    assert [t for _, t in clip.timed()] == [i / rate for i in range(23)]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("suffix", "codec"), [("mkv", "h264"), ("webm", "vp9")])
def test_rate_and_count_in_matroska(tmp_path: Path, suffix: str, codec: str, rate: Fraction) -> None:
    path = write_video(tmp_path / f"a.{suffix}", (numbered(i) for i in range(9)), rate)
    found = streams_of(path)
    assert found["rate"] == rate and found["frames"] == list(range(9)) and found["codec"] == codec
    assert found["order"][0][1] == 0


def test_a_single_frame_keeps_its_rate(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [numbered(1)], Fraction(30000, 1001))
    assert streams_of(path)["rate"] == Fraction(30000, 1001) and open_clip(path).count() == 1


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_a_variable_rate_driver_gives_the_same_average_and_times(tmp_path: Path, suffix: str) -> None:
    driver = open_clip(make_video(tmp_path / f"a.{suffix}", [numbered(i) for i in range(8)], times=UNEVEN))
    result = tmp_path / f"b.{suffix}"
    with VideoWriter(result, rate=driver.info.rate, size=(WIDTH, HEIGHT)) as writer:
        for frame, time in driver.timed():
            writer.write(frame, time)
    assert streams_of(result)["rate"] == streams_of(driver.info.path)["rate"] == driver.info.rate
    again = open_clip(result)
    assert again.info.variable_rate
    assert [(number_of(f), t) for f, t in again.timed()] == [(number_of(f), t) for f, t in driver.timed()]
    assert again.info.duration == driver.info.duration


@pytest.mark.parametrize("suffix", ["mkv", "webm"])
def test_variable_rate_in_matroska_is_kept_to_a_millisecond(tmp_path: Path, suffix: str) -> None:
    path = write_video(tmp_path / f"a.{suffix}", [numbered(i) for i in range(8)], Fraction(25), times=UNEVEN)
    found = [t for _, t in open_clip(path).timed()]
    assert max(abs(a - b) for a, b in zip(found, UNEVEN, strict=True)) <= Fraction(1, 1000)


def test_times_that_overrun_the_rate_are_kept(tmp_path: Path) -> None:
    times = [Fraction(i, 10) for i in range(5)]
    path = write_video(tmp_path / "a.mp4", [numbered(i) for i in range(5)], Fraction(25), times=times)
    assert [t for _, t in open_clip(path).timed()] == times


def test_times_may_start_anywhere_but_must_increase(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "a.mp4", [numbered(0)] * 2, Fraction(25), times=[Fraction(7), Fraction(7) + Fraction(1, 25)]
    )
    assert [t for _, t in open_clip(path).timed()] == [0, Fraction(1, 25)]
    with pytest.raises(ValueError, match="increase"):
        write_video(tmp_path / "b.mp4", [numbered(0)] * 2, Fraction(25), times=[Fraction(1), Fraction(1)])
    with pytest.raises(ValueError, match="every frame needs one"):
        write_video(tmp_path / "b.mp4", [numbered(0)] * 2, Fraction(25), times=[Fraction(1)])
    assert not (tmp_path / "b.mp4").exists()


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm", "gif"])
def test_colours_survive(tmp_path: Path, suffix: str) -> None:
    path = write_video(tmp_path / f"a.{suffix}", [patches()] * 3, Fraction(25), quality=8)
    assert max(patch_error(frame) for frame in open_clip(path)) <= 3


def test_colours_are_the_same_to_readers_that_ignore_tags(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    path = write_video(tmp_path / "a.mp4", [patches()] * 2, Fraction(25), quality=8)
    ok, frame = cv2.VideoCapture(str(path)).read()
    assert ok and patch_error(frame[..., ::-1]) <= 4
    with av.open(str(path)) as container:
        decoded = next(container.decode(video=0))
        assert patch_error(decoded.to_ndarray(format="rgb24")) <= 4
        assert (decoded.colorspace, decoded.color_range) == (6, 1)


@pytest.mark.parametrize("suffix", ["mp4", "webm"])
@pytest.mark.parametrize(("width", "height"), [(33, 27), (64, 31), (1, 1), (2, 2)])
def test_odd_sizes_are_padded_by_their_edge(tmp_path: Path, suffix: str, width: int, height: int) -> None:
    path = write_video(tmp_path / f"a.{suffix}", [np.full((height, width, 3), 140, np.uint8)] * 2, Fraction(25))
    clip = open_clip(path)
    assert (clip.info.width, clip.info.height) == (width + width % 2, height + height % 2)
    assert all(np.abs(frame.astype(int) - 140).max() <= 3 for frame in clip)


@pytest.mark.parametrize("rate", [Fraction(10), Fraction(25), Fraction(25, 2), Fraction(15)])
def test_gif(tmp_path: Path, rate: Fraction) -> None:
    path = write_video(tmp_path / "a.gif", [numbered(3 * i) for i in range(7)], rate)
    clip = open_clip(path)
    assert [number_of(f) for f in clip] == [3 * i for i in range(7)]
    assert all(abs(t - i / rate) <= Fraction(1, 100) for i, (_, t) in enumerate(clip.timed()))


def test_equal_frames_all_count(tmp_path: Path) -> None:
    for suffix in ("mp4", "webm", "gif"):
        path = write_video(tmp_path / f"a.{suffix}", [numbered(5)] * 30, Fraction(25))
        assert open_clip(path).count() == len(list(open_clip(path))) == 30


def test_frames_are_pulled_one_at_a_time(tmp_path: Path) -> None:
    written = 0

    def frames() -> Iterator[np.ndarray]:
        nonlocal written
        for i in range(6):
            assert written == i
            yield numbered(i)

    original = VideoWriter.write

    def count(self: VideoWriter, *args: Any) -> None:
        nonlocal written
        original(self, *args)
        written += 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VideoWriter, "write", count)
        write_video(tmp_path / "a.mp4", frames(), Fraction(25))
    assert written == 6


def test_the_table_of_contents_comes_first(tmp_path: Path) -> None:
    data = write_video(tmp_path / "a.mp4", [numbered(i) for i in range(5)], Fraction(25)).read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm"])
def test_metadata(tmp_path: Path, suffix: str) -> None:
    tags = {"comment": "synthetic", "title": "A"}
    path = write_video(tmp_path / f"a.{suffix}", [numbered(0)] * 2, Fraction(25), metadata=tags)
    found = {k.lower(): v for k, v in streams_of(path)["metadata"].items()}
    assert found["comment"] == "synthetic" and found["title"] == "A"


def test_unusual_metadata_keys_are_kept(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [numbered(0)] * 2, Fraction(25), metadata={"mien_seed": "7"})
    assert streams_of(path)["metadata"]["mien_seed"] == "7"


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyboardInterrupt(), SystemExit(1), GeneratorExit()])
def test_any_exception_leaves_no_file(tmp_path: Path, error: BaseException) -> None:
    def frames() -> Iterator[np.ndarray]:
        yield numbered(0)
        yield numbered(1)
        raise error

    with pytest.raises(type(error)):
        write_video(tmp_path / "a.mp4", frames(), Fraction(25))
    assert list(tmp_path.iterdir()) == []


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [numbered(0)] * 3, Fraction(25))
    before = path.read_bytes()
    with pytest.raises(RuntimeError), VideoWriter(path, rate=Fraction(25), size=(WIDTH, HEIGHT)) as writer:
        writer.write(numbered(1))
        assert path.read_bytes() == before
        raise RuntimeError
    assert path.read_bytes() == before
    with VideoWriter(path, rate=Fraction(25), size=(WIDTH, HEIGHT)) as writer:
        writer.write(numbered(1))
    assert path.read_bytes() != before and [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_no_frames_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not one frame"):
        write_video(tmp_path / "a.mp4", [], Fraction(25))
    with pytest.raises(OutputError, match="not one frame"), VideoWriter(tmp_path / "a.mp4", rate=25, size=(8, 8)):
        pass
    assert list(tmp_path.iterdir()) == []


class _Full:
    """Stands in for a container on a disk that is full."""

    def __init__(self, container: Any, when: str) -> None:
        self._container, self._when = container, when

    def __getattr__(self, name: str) -> Any:
        if name == self._when:
            if name == "close":
                self._container.close()
            raise av.error.OSError(errno.ENOSPC, "No space left on device", "a.mp4")
        return getattr(self._container, name)


@pytest.mark.parametrize("when", ["mux", "close"])
def test_a_full_disk_is_named(tmp_path: Path, when: str) -> None:
    with pytest.raises(OutputError, match=r"a\.mp4 cannot be written: the disk is full"):  # noqa: SIM117
        with VideoWriter(tmp_path / "a.mp4", rate=Fraction(25), size=(WIDTH, HEIGHT)) as writer:
            writer._container = _Full(writer._container, when)
            for i in range(80):
                writer.write(numbered(i % 40))
    assert list(tmp_path.iterdir()) == []


def test_unusable_targets_are_named_before_any_work(tmp_path: Path) -> None:
    def enter(path: Path) -> None:
        with VideoWriter(path, rate=Fraction(25), size=(WIDTH, HEIGHT)):
            raise AssertionError("work began")

    with pytest.raises(OutputError, match=r"a\.avi cannot be written: choose a name that ends in one of \.mp4"):
        enter(tmp_path / "a.avi")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="a part of its folder's path is a file|cannot be written"):
        enter(tmp_path / "file" / "a.mp4")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputError, match="a folder of that name"):
        enter(tmp_path / "folder.mp4")


def test_a_folder_one_may_not_write_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OutputError, match="no permission to write in its folder"):  # noqa: SIM117
        with VideoWriter(tmp_path / "a.mp4", rate=Fraction(25), size=(WIDTH, HEIGHT)):
            raise AssertionError("work began")


def test_wrong_frames_and_options_are_errors_of_the_program(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", rate=Fraction(25), size=(WIDTH, HEIGHT)) as writer:
        writer.write(numbered(0))
        for wrong in (numbered(0, 20, 20), numbered(0).astype(np.float32), numbered(0)[..., 0]):
            with pytest.raises(ValueError, match="uint8"):
                writer.write(wrong)
    assert open_clip(tmp_path / "a.mp4").count() == 1
    for bad in ({"rate": Fraction(0)}, {"size": (0, 4)}, {"quality": 52}):
        with pytest.raises(ValueError):
            VideoWriter(tmp_path / "b.mp4", **({"rate": Fraction(25), "size": (8, 8)} | bad))  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="context manager"):
        VideoWriter(tmp_path / "b.mp4", rate=Fraction(25), size=(8, 8)).write(np.zeros((8, 8, 3), np.uint8))


def test_folders_are_made_and_long_or_strange_names_work(tmp_path: Path) -> None:
    for name in ("n" * 200 + ".mp4", "http:b.mp4", "ünï çödé 100%d.mp4", "UPPER.MP4"):
        path = write_video(tmp_path / "new" / name, [numbered(i) for i in range(3)], Fraction(25))
        assert path.name == name and len(list(open_clip(path))) == 3
    with pytest.raises(OutputError, match="too long"):
        write_video(tmp_path / ("n" * 300 + ".mp4"), [numbered(0)], Fraction(25))


def test_the_same_frames_give_the_same_file(tmp_path: Path) -> None:
    """Small noisy pictures, which x264's AVX-512 code encodes differently every time."""
    frames = list(np.random.default_rng(0).integers(0, 99, (25, 54, 62, 3), dtype=np.uint8))
    files = {write_video(tmp_path / f"{n}.mp4", frames, 25).read_bytes() for n in range(6)}
    assert len(files) == 1
