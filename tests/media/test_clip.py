"""Reading drivers: what is known beforehand, which frames come, when, and how they look."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import GeneratorType

import av
import numpy as np
import pytest

from media_samples import (
    HEIGHT,
    WIDTH,
    corners,
    make_video,
    make_wav,
    number_of,
    numbered,
    patch_error,
    patches,
    set_matrix,
    tone_blocks,
)
from mien.errors import InputError
from mien.media import open_clip, read_video, write_image, write_video

UNEVEN = [Fraction(n, 12800) for n in (0, 400, 1100, 1300, 2500, 2900, 3000, 4100)]


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm"])
def test_a_video_gives_its_frames_in_order_as_often_as_asked(tmp_path: Path, suffix: str) -> None:
    codec = "libvpx-vp9" if suffix == "webm" else "libx264"
    rate = Fraction(30000, 1001)
    path = make_video(tmp_path / f"a.{suffix}", [numbered(i) for i in range(12)], rate, codec=codec)
    clip = open_clip(path)
    assert (clip.info.kind, clip.info.width, clip.info.height) == ("video", WIDTH, HEIGHT)
    assert clip.info.rate == rate
    assert clip.info.frames == clip.count() == 12
    assert clip.info.duration == 12 / rate
    assert not clip.info.variable_rate and not clip.info.has_audio and clip.info.rotation == 0
    assert isinstance(iter(clip), GeneratorType)
    for _ in range(2):
        frames = list(clip)
        assert [number_of(f) for f in frames] == list(range(12))
        assert all(f.dtype == np.uint8 and f.shape == (HEIGHT, WIDTH, 3) for f in frames)
    assert clip.warnings == []
    times = [t for _, t in clip.timed()]
    assert all(isinstance(t, Fraction) and abs(t - i / rate) < Fraction(1, 900) for i, t in enumerate(times))


def test_two_iterations_may_run_at_once_and_one_may_stop_early(tmp_path: Path) -> None:
    clip = read_video(make_video(tmp_path / "a.mp4", [numbered(i) for i in range(9)]))
    pairs = list(zip(clip, clip, strict=True))
    assert [(number_of(a), number_of(b)) for a, b in pairs] == [(i, i) for i in range(9)]
    frames = iter(clip)
    next(frames)
    frames.close()  # type: ignore[attr-defined]  # it is a generator
    assert clip.warnings == []


def test_a_long_video_without_a_table_of_frames_is_counted_on_demand(tmp_path: Path) -> None:
    frames = [numbered(i % 10, 32, 32) for i in range(450)]
    clip = open_clip(make_video(tmp_path / "a.mkv", frames, options={"preset": "ultrafast"}))
    assert clip.info.frames == 450  # from the stated duration
    assert clip.count() == 450 == sum(1 for _ in clip)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_variable_rate_is_seen_and_timed(tmp_path: Path, suffix: str) -> None:
    frames = [numbered(i) for i in range(len(UNEVEN))]
    clip = open_clip(make_video(tmp_path / f"a.{suffix}", frames, times=UNEVEN))
    assert clip.info.variable_rate
    assert clip.count() == len(UNEVEN)
    found = [(number_of(f), t) for f, t in clip.timed()]
    assert [n for n, _ in found] == list(range(len(UNEVEN)))
    assert max(abs(t - wanted) for (_, t), wanted in zip(found, UNEVEN, strict=True)) <= Fraction(1, 1000)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_the_clock_starts_at_the_first_frame(tmp_path: Path, suffix: str) -> None:
    path = make_video(tmp_path / f"a.{suffix}", [numbered(i) for i in range(5)], start=Fraction(2))
    assert [t for _, t in open_clip(path).timed()] == [Fraction(i, 25) for i in range(5)]


@pytest.mark.parametrize(
    ("matrix", "turned", "degrees"),
    [
        ((1, 0, 0, 1), lambda x: x, 0),
        ((0, 1, -1, 0), lambda x: np.rot90(x, -1), 90),
        ((-1, 0, 0, -1), lambda x: np.rot90(x, 2), 180),
        ((0, -1, 1, 0), lambda x: np.rot90(x, 1), 270),
        ((-1, 0, 0, 1), lambda x: x[:, ::-1], 0),
        ((1, 0, 0, -1), lambda x: x[::-1], 180),
        ((0, 1, 1, 0), lambda x: x.transpose(1, 0, 2), 90),
        ((0, -1, -1, 0), lambda x: np.rot90(x, 2).transpose(1, 0, 2), 270),
    ],
)
def test_rotation_metadata_is_honoured(tmp_path, matrix, turned, degrees) -> None:  # type: ignore[no-untyped-def]
    path = make_video(tmp_path / "phone.mp4", [corners()] * 3, options={"crf": "5"})
    set_matrix(path, *matrix)
    clip = open_clip(path)
    wanted = turned(corners())
    assert (clip.info.height, clip.info.width) == wanted.shape[:2]
    if np.linalg.det(np.array(matrix).reshape(2, 2)) > 0:
        assert clip.info.rotation == degrees
    for frame in clip:
        assert frame.shape == wanted.shape and frame.flags.c_contiguous
        for y in (4, -5):
            for x in (4, -5):
                assert np.abs(frame[y, x].astype(int) - wanted[y, x]).max() < 12


@pytest.mark.parametrize(
    ("pixel_format", "matrix", "code", "full"),
    [
        ("yuv420p", "ITU601", 6, False),
        ("yuv420p", "ITU709", 1, False),
        ("yuv420p", "ITU601", 2, False),  # untagged
        ("yuv420p", "ITU601", 6, True),
        ("yuvj420p", "ITU601", 6, True),
        ("yuv420p10le", "ITU709", 1, False),
        ("yuv444p", "ITU709", 1, True),
        ("yuv444p", "ITU601", 6, True),
    ],
)
def test_colours_follow_matrix_range_and_depth(
    tmp_path: Path, pixel_format: str, matrix: str, code: int, full: bool
) -> None:
    path = make_video(
        tmp_path / "a.mp4",
        [patches()] * 2,
        pixel_format=pixel_format,
        options={"crf": "4"},
        tags={"colorspace": code, "color_range": 2 if full else 1},
        scaling={
            "dst_colorspace": matrix,
            "src_color_range": "JPEG",
            "dst_color_range": "JPEG" if full else "MPEG",
        },
    )
    assert max(patch_error(frame) for frame in open_clip(path)) <= 3


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    half = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    half[:, : WIDTH // 2] = (200, 40, 40, 255)
    half[:, WIDTH // 2 :] = (200, 40, 40, 128)
    path = make_video(tmp_path / "a.mov", [half] * 2, codec="qtrle", pixel_format="argb", layout="rgba")
    frame = next(iter(open_clip(path)))
    assert np.abs(frame[5, 5].astype(int) - (200, 40, 40)).max() <= 1
    assert np.abs(frame[5, -5].astype(int) - (227, 147, 147)).max() <= 2


def test_grey_video(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", [numbered(i) for i in range(3)], codec="ffv1", pixel_format="gray")
    assert [number_of(f) for f in open_clip(path)] == [0, 1, 2]


def test_odd_sizes(tmp_path: Path) -> None:
    frames = [numbered(i, 33, 27) for i in range(3)]
    clip = open_clip(make_video(tmp_path / "a.mkv", frames, codec="ffv1", pixel_format="yuv444p"))
    assert (clip.info.width, clip.info.height) == (33, 27)
    assert {f.shape for f in clip} == {(27, 33, 3)}


def test_oblong_pixels_are_made_square(tmp_path: Path) -> None:
    clip = open_clip(make_video(tmp_path / "a.mp4", [numbered(1)] * 2, aspect=Fraction(16, 11)))
    assert (clip.info.width, clip.info.height) == (93, HEIGHT)
    assert next(iter(clip)).shape == (HEIGHT, 93, 3)


def test_the_best_video_stream_is_taken_and_cover_art_is_none(tmp_path: Path) -> None:
    path = tmp_path / "cover.mp4"
    with av.open(str(path), "w") as container:
        cover = container.add_stream("png", rate=25)
        cover.width, cover.height, cover.pix_fmt = 200, 200, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic.value
        small = container.add_stream("libx264", rate=25)
        small.width, small.height, small.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((200, 200, 3), np.uint8), format="rgb24")))
        container.mux(cover.encode(None))
        for i in range(5):
            container.mux(small.encode(av.VideoFrame.from_ndarray(numbered(i), format="rgb24")))
        container.mux(small.encode(None))
    clip = open_clip(path)
    assert (clip.info.width, clip.info.height) == (WIDTH, HEIGHT)
    assert [number_of(f) for f in clip] == list(range(5))


def test_sound_with_cover_art_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        cover = container.add_stream("png", rate=25)
        cover.width, cover.height, cover.pix_fmt = 200, 200, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic.value
        voice = container.add_stream("aac", rate=48000)
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((200, 200, 3), np.uint8), format="rgb24")))
        container.mux(cover.encode(None))
        for block in tone_blocks(Fraction(1, 2)):
            container.mux(voice.encode(block))
        container.mux(voice.encode(None))
    with pytest.raises(InputError, match="no video stream"):
        open_clip(path)
    result = write_video(tmp_path / "a.mp4", [numbered(0)] * 5, 25, audio_from=path)
    assert open_clip(result).info.has_audio


def test_sound_is_seen(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", [numbered(i) for i in range(10)], sound=("aac", Fraction(2, 5)))
    clip = open_clip(path)
    assert clip.info.has_audio and clip.count() == 10 == len(list(clip))


def test_gif_is_a_video_with_its_own_delays(tmp_path: Path) -> None:
    times = [Fraction(0), Fraction(1, 10), Fraction(3, 10), Fraction(35, 100)]
    path = write_video(tmp_path / "a.gif", [numbered(4 * i) for i in range(4)], Fraction(10), times=times)
    clip = open_clip(path)
    assert clip.info.kind == "video" and clip.info.variable_rate and clip.count() == 4
    found = list(clip.timed())
    assert [t for _, t in found] == times
    assert [number_of(f) for f, _ in found] == [0, 4, 8, 12]


def test_gif_of_one_picture_is_an_image(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.gif", [numbered(3)], Fraction(10))
    clip = open_clip(path)
    assert clip.info.kind == "image" and [number_of(f) for f in clip] == [3]


def test_an_image_is_a_clip_of_one_frame(tmp_path: Path) -> None:
    clip = open_clip(write_image(tmp_path / "a.png", corners()))
    assert (clip.info.kind, clip.info.width, clip.info.height, clip.info.rate) == ("image", 64, 32, Fraction(25))
    frames = list(clip.timed())
    assert clip.count() == len(frames) == 1 and frames[0][1] == 0
    assert np.array_equal(frames[0][0], corners())


def test_a_folder_is_a_clip_in_natural_order(tmp_path: Path) -> None:
    for i in (0, 1, 2, 9, 10, 11):
        write_image(tmp_path / f"Frame{i}.png", numbered(i))
    (tmp_path / "notes.txt").write_text("not a frame")
    (tmp_path / ".frame5.png").write_bytes(b"left by another system")
    clip = open_clip(tmp_path, fps=Fraction(12))
    assert (clip.info.kind, clip.info.frames, clip.info.rate) == ("folder", 6, Fraction(12))
    assert clip.info.duration == Fraction(1, 2)
    assert [(number_of(f), t) for f, t in clip.timed()] == [
        (n, Fraction(i, 12)) for i, n in enumerate((0, 1, 2, 9, 10, 11))
    ]


def test_a_damaged_image_in_a_folder_holds_the_one_before(tmp_path: Path) -> None:
    for i in range(3):
        write_image(tmp_path / f"{i}.png", np.random.default_rng(i).integers(0, 255, (48, 64, 3), dtype=np.uint8))
    data = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(data[: len(data) // 2])
    clip = open_clip(tmp_path)
    frames = list(clip)
    assert len(frames) == 3 and np.array_equal(frames[0], frames[1])
    assert len(clip.warnings) == 1 and "1.png" in clip.warnings[0]


def test_folder_problems_name_the_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no images"):
        open_clip(tmp_path)
    write_image(tmp_path / "a.png", numbered(0))
    write_image(tmp_path / "b.png", numbered(0, 20, 20))
    with pytest.raises(InputError, match=r"b\.png is 20 x 20"):
        open_clip(tmp_path)


def test_a_rate_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not positive"):
        open_clip(write_image(tmp_path / "a.png", corners()), fps=Fraction(0))


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no video stream"):
        open_clip(make_wav(tmp_path / "a.wav", Fraction(1, 10)))
