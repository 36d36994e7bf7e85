"""Sound beside a new picture: copied or encoded anew, in step, for as long as the picture lasts."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from media_samples import cut, loudness, make_video, make_wav, number_of, numbered, streams_of, tone_blocks
from mien.errors import InputError
from mien.media import VideoWriter, open_clip, part_of, write_image, write_video

RATE = Fraction(30000, 1001)


def driver(path: Path, codec: str = "aac", seconds: Fraction = Fraction(1), frames: int = 30, **more: Any) -> Path:
    video = "libvpx-vp9" if path.suffix == ".webm" else "libx264"
    return make_video(path, [numbered(i) for i in range(frames)], RATE, codec=video, sound=(codec, seconds), **more)


def sound_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(container.streams.audio[0]) if p.size]


def ticking(
    path: Path, clicks: list[Fraction], seconds: Fraction, first: Fraction = Fraction(0), codec: str = "aac"
) -> Path:
    """A video from `first` on, with sound from 0 on that is silent but for 40 ms of noise at each click."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        voice: Any = container.add_stream(codec, rate=48000)
        voice.codec_context.layout = "stereo"
        for i in range(int(seconds * 25)):
            frame = av.VideoFrame.from_ndarray(numbered(i % 40, 32, 32), format="rgb24")
            frame.pts, frame.time_base = i + int(first * 25), Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for block in tone_blocks(first + seconds):
            at = block.pts + np.arange(block.samples)
            loud = np.zeros(block.samples, bool)
            for click in clicks:
                loud |= (at >= click * 48000) & (at < (click + Fraction(1, 25)) * 48000)
            samples = (rng.integers(-12000, 12000, block.samples) * loud).astype(np.int16)
            again = av.AudioFrame.from_ndarray(np.repeat(samples, 2)[None], format="s16", layout="stereo")
            again.sample_rate, again.pts, again.time_base = 48000, block.pts, block.time_base
            container.mux(voice.encode(again))
        container.mux(voice.encode(None))
    return path


def clicks_in(path: Path) -> list[float]:
    """Start times of the loud parts of a file's sound, in seconds of its video."""
    parts, step = [], 1 / 48000
    with av.open(str(path)) as container:
        started = container.streams.video[0].start_time or 0
        origin = float(started * container.streams.video[0].time_base)
        for frame in container.decode(audio=0):
            level = np.abs(frame.to_ndarray()[0].astype(np.float64))
            parts += [float(frame.pts * frame.time_base) - origin + i * step for i in np.flatnonzero(level > 0.1)]
    times = np.array(parts)
    return times[np.flatnonzero(np.diff(times, prepend=-1) > 0.1)].tolist()


@pytest.mark.parametrize(
    ("source", "codec", "target", "result"),
    [
        ("mp4", "aac", "mp4", "aac"),
        ("mp4", "aac", "mov", "aac"),
        ("mp4", "aac", "mkv", "aac"),
        ("mkv", "aac", "mp4", "aac"),
        ("ts", "aac", "mp4", "aac"),
        ("webm", "libopus", "webm", "opus"),
        ("webm", "libopus", "mp4", "opus"),
        ("mkv", "flac", "mkv", "flac"),
        ("mov", "pcm_s16le", "mov", "pcm_s16le"),
        ("mkv", "libmp3lame", "mp4", "mp3float"),
    ],
)
def test_sound_is_copied_untouched_where_it_fits(
    tmp_path: Path, source: str, codec: str, target: str, result: str
) -> None:
    given = driver(tmp_path / f"a.{source}", codec)
    path = write_video(tmp_path / f"b.{target}", open_clip(given), RATE, audio_from=given)
    found = streams_of(path)
    assert found["audio"] == result and found["rate"] == RATE and found["frames"] == list(range(30))
    before, after = sound_packets(given), sound_packets(path)
    if source == "ts":  # a transport stream repeats headers in front of every packet
        assert len(after) > 40 and all(b.endswith(a) for a, b in zip(after, before, strict=False))
    else:
        start = before.index(after[0])
        assert start <= 2 and after == before[start : start + len(after)]
    assert len(after) >= 0.9 * len(before)


@pytest.mark.parametrize(
    ("source", "codec", "target", "result"),
    [
        ("mp4", "aac", "webm", "opus"),
        ("mov", "pcm_s16le", "mp4", "aac"),
        ("mkv", "libvorbis", "mp4", "aac"),
        ("webm", "libopus", "mov", "aac"),
        ("avi", "mp2", "mkv", "aac"),
    ],
)
def test_sound_is_encoded_anew_where_it_does_not_fit(
    tmp_path: Path, source: str, codec: str, target: str, result: str
) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV cannot make {codec}")
    given = driver(tmp_path / f"a.{source}", codec)
    path = write_video(tmp_path / f"b.{target}", (numbered(i) for i in range(30)), RATE, audio_from=given)
    found = streams_of(path)
    assert found["audio"] == result and found["rate"] == RATE and found["frames"] == list(range(30))
    levels, wanted = loudness(path), loudness(given)
    assert abs(len(levels) - len(wanted)) <= 3
    assert (levels[5:40] > 0).sum() >= 15


def test_a_sound_file_of_its_own(tmp_path: Path) -> None:
    wav = make_wav(tmp_path / "a.wav", Fraction(1))
    for suffix in ("mp4", "mkv", "webm"):
        path = write_video(tmp_path / f"a.{suffix}", [numbered(i) for i in range(25)], 25, audio_from=wav)
        assert streams_of(path)["audio"] is not None and 45 <= len(loudness(path)) <= 55


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_sound_ends_with_the_picture(tmp_path: Path, codec: str) -> None:
    given = driver(tmp_path / "a.mov", codec, seconds=Fraction(5))
    path = write_video(tmp_path / "b.mp4", (numbered(i) for i in range(30)), RATE, audio_from=given)
    found = streams_of(path)
    assert 0.9 < found["audio_end"] < 30 / RATE
    assert found["rate"] == RATE and len(found["frames"]) == 30


def test_sound_shorter_than_the_picture_is_fine(tmp_path: Path) -> None:
    given = driver(tmp_path / "a.mp4", seconds=Fraction(1, 5))
    path = write_video(tmp_path / "b.mp4", (numbered(i) for i in range(30)), RATE, audio_from=given)
    assert len(streams_of(path)["frames"]) == 30 and len(loudness(path)) < 15


@pytest.mark.parametrize("target", ["mp4", "mkv", "webm"])
def test_sound_stays_in_step(tmp_path: Path, target: str) -> None:
    clicks = [Fraction(1, 2), Fraction(3, 2)]
    given = ticking(tmp_path / "a.mp4", clicks, Fraction(2))
    path = write_video(tmp_path / f"b.{target}", open_clip(given), 25, audio_from=given)
    assert clicks_in(path) == pytest.approx([0.5, 1.5], abs=0.012)


@pytest.mark.parametrize("target", ["mp4", "webm"])
def test_a_picture_that_starts_late_keeps_its_sound(tmp_path: Path, target: str) -> None:
    given = ticking(tmp_path / "a.mp4", [Fraction(1, 5), Fraction(3, 2)], Fraction(2), first=Fraction(1))
    clip = open_clip(given)
    path = write_video(tmp_path / f"b.{target}", clip, 25, audio_from=given)
    assert clicks_in(path) == pytest.approx([0.5], abs=0.012)


def test_interleaved_channels_are_cut_to_the_sample(tmp_path: Path) -> None:
    given = ticking(tmp_path / "a.mov", [Fraction(3, 2)], Fraction(2), codec="pcm_s16le")
    path = tmp_path / "b.mp4"
    with VideoWriter(path, rate=25, size=(32, 32), audio_from=given, audio_start=Fraction(1234, 1000)) as writer:
        for i in range(12):
            writer.write(numbered(i, 32, 32))
    assert streams_of(path)["audio"] == "aac" and clicks_in(path) == pytest.approx([0.266], abs=0.012)


@pytest.mark.parametrize("target", ["mp4", "mkv", "webm"])
@pytest.mark.parametrize("timed", [False, True])
def test_a_later_part_of_the_driver_takes_that_part_of_its_sound(tmp_path: Path, target: str, timed: bool) -> None:
    given = ticking(tmp_path / "a.mp4", [Fraction(1, 5), Fraction(3, 2)], Fraction(2))
    path = tmp_path / f"b.{target}"
    start = Fraction(4, 5)
    with VideoWriter(
        path, rate=Fraction(25), size=(32, 32), audio_from=given, audio_start=Fraction(0) if timed else start
    ) as writer:
        for frame, time in open_clip(given).timed():
            if time >= start:
                writer.write(frame, time if timed else None)
    assert clicks_in(path) == pytest.approx([0.7], abs=0.012)
    found = streams_of(path)
    assert found["rate"] == 25 and len(found["frames"]) == 30
    if target != "mp4":  # there, sound from before the start would move the picture to a later time
        assert next(time for kind, time in found["order"] if kind == "video") == 0


@pytest.mark.parametrize("rate", [None, Fraction(10), Fraction(60)])
def test_a_part_at_another_rate_keeps_its_sound_in_time(tmp_path: Path, rate: Fraction | None) -> None:
    given = ticking(tmp_path / "a.mp4", [Fraction(1, 5), Fraction(3, 2)], Fraction(2))
    part = part_of(open_clip(given), Fraction(4, 5), Fraction(9, 5), rate)
    path = write_video(tmp_path / "b.mp4", part, part.info.rate, audio_from=given, audio_start=part.start)
    assert clicks_in(path) == pytest.approx([0.7], abs=0.012)
    assert open_clip(path).info.duration == 1


@pytest.mark.parametrize("name", ["silent.mp4", "picture.png", "folder"])
def test_a_driver_without_sound_is_fine(tmp_path: Path, name: str) -> None:
    given = tmp_path / name
    if name == "folder":
        given.mkdir()
    elif name == "picture.png":
        write_image(given, numbered(0))
    else:
        make_video(given, [numbered(0)] * 3)
    path = write_video(tmp_path / "b.mp4", [numbered(i) for i in range(3)], 25, audio_from=given)
    assert streams_of(path)["audio"] is None and len(streams_of(path)["frames"]) == 3


def test_gif_leaves_the_sound_out(tmp_path: Path) -> None:
    path = write_video(tmp_path / "b.gif", [numbered(0)] * 3, 25, audio_from=driver(tmp_path / "a.mp4"))
    assert open_clip(path).info.has_audio is False


def test_missing_and_unreadable_sound_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("la la la")
    for name in ("gone.mp4", "text.wav"):
        with pytest.raises(InputError, match=name):
            write_video(tmp_path / "b.mp4", [numbered(0)] * 3, 25, audio_from=tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["text.wav"]


def test_sound_cut_off_ends_early(tmp_path: Path) -> None:
    whole = driver(tmp_path / "a.mp4", seconds=Fraction(1), container_options={"movflags": "faststart"})
    given = cut(whole, tmp_path / "cut.mp4", 0.6)
    path = write_video(tmp_path / "b.mp4", [numbered(i) for i in range(30)], RATE, audio_from=given)
    found = streams_of(path)
    assert len(found["frames"]) == 30 and 0.2 < found["audio_end"] < 0.9
    assert set(sound_packets(path)) <= set(sound_packets(whole))


def test_sound_lies_beside_its_picture(tmp_path: Path) -> None:
    """Packets of both kinds alternate, so that neither a player nor the writer has to hold one of them back."""
    wav = make_wav(tmp_path / "a.wav", Fraction(80))
    # Much longer than the 10 seconds for which FFmpeg's muxer would wait for sound, holding pictures.
    path = write_video(tmp_path / "b.mkv", (numbered(i % 40, 32, 32) for i in range(160)), 2, audio_from=wav)
    order = streams_of(path)["order"]
    latest = {"audio": 0.0, "video": 0.0}
    for kind, time in order:
        latest[kind] = time
        assert abs(latest["audio"] - latest["video"]) < 1


def test_variable_rate_with_sound(tmp_path: Path) -> None:
    times = [Fraction(n, 12800) for n in (0, 400, 1100, 1300, 2500, 2900, 3000, 12000)]
    given = make_video(tmp_path / "a.mp4", [numbered(i) for i in range(8)], times=times, sound=("aac", Fraction(1)))
    clip = open_clip(given)
    assert clip.info.variable_rate
    with VideoWriter(tmp_path / "b.mp4", rate=clip.info.rate, size=(64, 48), audio_from=given) as writer:
        for frame, time in clip.timed():
            writer.write(frame, time)
    found = streams_of(tmp_path / "b.mp4")
    assert found["rate"] == streams_of(given)["rate"] and found["audio"] == "aac"
    assert [(number_of(f), t) for f, t in open_clip(tmp_path / "b.mp4").timed()] == list(enumerate(times))
