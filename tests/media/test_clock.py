"""Time stamps as they really come: every frame keeps its own time, and the sound lies beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from media_samples import make_video, numbered
from mien.media import evened, open_clip, part_of
from mien.media.clock import even_rate, is_uneven, on_grid, steady
from timed_samples import Change, Flashing, copied, flashing, relayed, shown, spoilt

FRAME = Fraction(1, 25)
PCM = replace(Flashing(), frames=60, flash=45, sound="pcm_s16le")


def in_step(source: Path, target: Path, flashes: list[float], frames: int | None = None) -> list[str]:
    """Check a result's flashes and beeps, in seconds, to half a frame and to one; what was said of it."""
    path, said = relayed(source, target)
    found = shown(path)
    assert found.flashes == pytest.approx(flashes, abs=0.021)
    assert found.beeps == pytest.approx(flashes, abs=0.04)
    assert frames is None or len(found.times) == frames
    return said


def without_pictures(count: int) -> Change:
    """A cut: the first `count` packets of the picture are left out."""
    left = [count]

    def change(packet: av.Packet) -> Iterator[av.Packet]:
        if packet.stream.type == "video" and left[0]:
            left[0] -= 1
        else:
            yield packet

    return change


def restamped(times: Callable[[int, Fraction], Fraction], early: Fraction = Fraction(0)) -> Change:
    """The picture's time stamps changed by a function of number and seconds; those of decoding by `early`, if given."""
    number = iter(range(10**6))

    def change(packet: av.Packet) -> Iterator[av.Packet]:
        if packet.stream.type == "video":
            at = times(next(number), packet.pts * packet.time_base)
            packet.pts = round(at / packet.time_base)
            packet.dts = packet.dts - round(early / packet.time_base) if early else packet.pts
        yield packet

    return change


def moved(seconds: Fraction) -> Change:
    """All of a file later or, below 0, earlier."""

    def change(packet: av.Packet) -> Iterator[av.Packet]:
        packet.pts += round(seconds / packet.time_base)
        packet.dts += round(seconds / packet.time_base)
        yield packet

    return change


def joined(target: Path, *plans: Flashing, options: dict[str, str] | None = None) -> Path:
    """Files of one kind after each other, byte by byte."""
    parts = [flashing(target.with_stem(f"part{n}"), plan, options) for n, plan in enumerate(plans)]
    target.write_bytes(b"".join(part.read_bytes() for part in parts))
    return target


@pytest.mark.parametrize(
    ("suffix", "codec", "sound"),
    [("webm", "libvpx", "libopus"), ("mkv", "libx264", "aac"), ("ts", "libx264", "aac"), ("flv", "libx264", "aac")],
)
def test_frames_lost_late_in_a_long_file_keep_their_times(tmp_path: Path, suffix: str, codec: str, sound: str) -> None:
    lost = tuple(i for i in range(405, 440) if i % 3 and i != 432)
    plan = Flashing(frames=440, flash=432, drop=lost, codec=codec, sound=sound)
    source = flashing(tmp_path / f"a.{suffix}", plan)
    clip = open_clip(source)
    assert (
        clip.info.variable_rate
        and clip.info.rate == 25
        and float(clip.info.duration or 0) == pytest.approx(17.6, abs=0.1)
    )
    assert in_step(source, tmp_path / "b.mp4", [17.28], 440 - len(lost)) == []
    part = part_of(clip, Fraction(16), Fraction(35, 2))
    assert float(part.start) == pytest.approx(16, abs=0.002)
    times = [time for _, time in part.timed()]
    assert times == part.moments() and float(times[-1]) == pytest.approx(1.4, abs=0.003)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "ts", "flv"])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_a_cut_that_begins_between_key_frames(tmp_path: Path, suffix: str, b_frames: int) -> None:
    whole = flashing(tmp_path / "a.mp4", Flashing(b_frames=b_frames))
    source = copied(whole, tmp_path / f"b.{suffix}", without_pictures(3))
    frames = 40 + (b_frames > 0)  # of B frames, the key frame at 10 is shown after one that leans on it alone
    said = in_step(source, tmp_path / "c.mp4", [0.04 * (30 - 50 + frames)], frames)
    assert len(said) == 1 and "begins between two key frames" in said[0]


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_times_before_zero(tmp_path: Path, suffix: str) -> None:
    whole = flashing(tmp_path / "a.mp4")
    early = moved(Fraction(-1, 2))
    source = copied(whole, tmp_path / f"b.{suffix}", early, {"avoid_negative_ts": "disabled"})
    path, said = relayed(source, tmp_path / "c.mp4")
    found = shown(path)
    assert said == [] and found.beeps == pytest.approx(found.flashes, abs=0.04) and len(found.flashes) == 1


@pytest.mark.parametrize("suffix", ["mkv", "ts"])
def test_an_unused_picture_that_begins_later_does_not_count(tmp_path: Path, suffix: str) -> None:
    main = flashing(tmp_path / "a.mp4", Flashing(size=(64, 64)))
    small = flashing(tmp_path / "s.mp4", Flashing(frames=20, flash=5, late=Fraction(1, 2), sound=None))
    source = tmp_path / f"b.{suffix}"
    with av.open(str(small)) as other, av.open(str(main)) as given, av.open(str(source), "w") as container:
        streams = [container.add_stream_from_template(s) for s in (*other.streams, *given.streams)]
        found = [(p, streams[0]) for p in other.demux() if p.dts is not None]
        found += [(p, streams[1 + p.stream.index]) for p in given.demux() if p.dts is not None]
        for packet, stream in sorted(found, key=lambda pair: pair[0].dts * pair[0].time_base):
            packet.stream = stream
            container.mux_one(packet)
    assert in_step(source, tmp_path / "c.mp4", [1.2], 50) == []


def test_frames_that_cannot_be_decoded_leave_a_gap(tmp_path: Path) -> None:
    source = spoilt(flashing(tmp_path / "a.mp4"), 8, 20)
    said = in_step(source, tmp_path / "b.mp4", [1.2], 38)
    assert said == [f"{source} is damaged or cut off: 12 of 50 frames are missing."]
    clip = evened(open_clip(source))
    assert len(list(clip)) == clip.count() == 50  # for all that knows frames by number the last one stays


@pytest.mark.parametrize("sound", ["aac", "mp2", "ac3"])
def test_recordings_joined_whose_clock_starts_again(tmp_path: Path, sound: str) -> None:
    parts = [Flashing(frames=30, flash=10 + 5 * n, sound=sound) for n in range(3)]
    source = joined(tmp_path / "a.ts", *parts)
    assert not open_clip(source).info.variable_rate
    assert in_step(source, tmp_path / "b.mp4", [0.4, 1.8, 3.2], 90) == []
    assert in_step(source, tmp_path / "b.webm", [0.4, 1.8, 3.2], 90) == []


@pytest.mark.parametrize(
    ("suffix", "plan"),
    [
        ("mpg", Flashing(frames=30, flash=10, codec="mpeg2video", sound="mp2", tick=FRAME)),
        ("webm", Flashing(frames=30, flash=10, codec="libvpx", sound="libopus")),
        ("mkv", Flashing(frames=30, flash=10)),
        ("ts", Flashing(frames=30, flash=10, b_frames=2)),
    ],
)
def test_other_containers_joined(tmp_path: Path, suffix: str, plan: Flashing) -> None:
    assert in_step(joined(tmp_path / f"a.{suffix}", plan, plan), tmp_path / "b.mp4", [0.4, 1.6], 60) == []


def test_pieces_of_a_fragmented_file_joined(tmp_path: Path) -> None:
    plan = Flashing(frames=30, flash=15)
    source = joined(tmp_path / "a.mp4", plan, plan, options={"movflags": "frag_keyframe+empty_moov"})
    found = shown(relayed(source, tmp_path / "b.mp4")[0])
    assert len(found.flashes) == 2 and found.beeps == pytest.approx(found.flashes, abs=0.04)


def test_a_clock_set_far_ahead_is_closed_up_in_a_transport_stream(tmp_path: Path) -> None:
    first = flashing(tmp_path / "a.ts", Flashing(frames=30, flash=10))
    whole = flashing(tmp_path / "b.mp4", Flashing(frames=30, flash=10))
    second = copied(whole, tmp_path / "c.ts", moved(Fraction(5000)))
    first.write_bytes(first.read_bytes() + second.read_bytes())
    assert in_step(first, tmp_path / "d.mp4", [0.4, 1.6], 60) == []


@pytest.mark.parametrize("target", ["mp4", "mov", "mkv", "webm"])
@pytest.mark.parametrize(
    ("sound", "first", "second"),
    [
        ("mp2", {"layout": "mono"}, {"layout": "stereo"}),
        ("aac", {"layout": "stereo"}, {"layout": "mono"}),
        ("ac3", {"sound_rate": 44100}, {"sound_rate": 48000}),
        ("aac", {"sound_rate": 48000}, {"sound_rate": 32000, "layout": "mono"}),
    ],
)
def test_sound_that_changes_on_the_way(tmp_path: Path, sound: str, first: dict, second: dict, target: str) -> None:  # type: ignore[type-arg]
    plan = Flashing(frames=30, flash=10, sound=sound)
    source = joined(tmp_path / "a.ts", replace(plan, **first), replace(plan, **second))
    assert in_step(source, tmp_path / f"b.{target}", [0.4, 1.6], 60) == []


@pytest.mark.parametrize("target", ["mov", "mp4", "mkv", "webm"])
@pytest.mark.parametrize("sound", ["pcm_s16le", "pcm_s24le", "pcm_u8", "aac"])
def test_a_hole_in_the_sound_stays_open(tmp_path: Path, sound: str, target: str) -> None:
    whole = flashing(tmp_path / "a.mkv", replace(PCM, sound=sound, layout="mono" if "24" in sound else "stereo"))

    def change(packet: av.Packet) -> Iterator[av.Packet]:
        if packet.stream.type == "video" or not 0.5 < float(packet.pts * packet.time_base) < 1.3:
            yield packet

    assert in_step(copied(whole, tmp_path / "b.mkv", change), tmp_path / f"c.{target}", [1.8], 60) == []


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("every fifth equal", lambda i, at: at - (FRAME if i % 5 == 4 else 0)),
        ("whole seconds", lambda i, at: Fraction(int(at))),
        ("tenths", lambda i, at: Fraction(int(at * 10), 10)),
        ("all equal", lambda i, at: Fraction(0)),
        ("jittered", lambda i, at: at + Fraction(20 + (7 * i * i) % 31 - 15, 1000)),
    ],
)
def test_equal_and_jittered_stamps(tmp_path: Path, name: str, times: Callable[[int, Fraction], Fraction]) -> None:
    source = copied(flashing(tmp_path / "a.mkv"), tmp_path / "b.mkv", restamped(times))
    clip = open_clip(source)
    stamps = [time for _, time in clip.timed()]
    assert max(abs(time - i * FRAME) for i, time in enumerate(stamps)) <= 2 * FRAME
    assert all(a < b for a, b in pairwise(stamps)) and abs(stamps[-1] - 49 * FRAME) <= FRAME + Fraction(1, 1000)
    assert in_step(source, tmp_path / "c.mp4", [1.2], 50) == []


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("one far ahead", lambda i, at: at + 5 * (i == 20)),
        ("some go back", lambda i, at: at - Fraction(6, 100) * (i % 7 == 5)),
        ("two change places", lambda i, at: at + FRAME * ((i % 6 == 2) - (i % 6 == 3))),
    ],
)
def test_stamps_out_of_order(
    tmp_path: Path, name: str, times: Callable[[int, Fraction], Fraction], suffix: str
) -> None:
    whole = flashing(tmp_path / "a.mkv", Flashing(late=Fraction(1, 2)))
    source = copied(whole, tmp_path / f"b.{suffix}", restamped(times, Fraction(1, 4)))
    assert in_step(source, tmp_path / "c.mp4", [1.2], 50) == []


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_avi_with_b_frames_has_its_own_speed(tmp_path: Path, codec: str) -> None:
    options = (("bf", "2"),) if codec == "mpeg4" else ()
    plan = Flashing(codec=codec, b_frames=2, options=options, sound="libmp3lame", tick=FRAME)
    source = flashing(tmp_path / "a.avi", plan)
    clip = open_clip(source)
    assert (clip.info.rate, [time for _, time in clip.timed()]) == (25, [i * FRAME for i in range(50)])
    assert in_step(source, tmp_path / "b.mp4", [1.2], 50) == []


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_avi_with_empty_packets_waits(tmp_path: Path, codec: str) -> None:
    plan = Flashing(codec=codec, drop=tuple(range(12, 22)), sound="pcm_s16le", tick=FRAME)
    source = flashing(tmp_path / "a.avi", plan)
    found = shown(relayed(source, tmp_path / "b.mov")[0])
    assert len(found.times) == 40 and found.beeps == pytest.approx(found.flashes, abs=0.05)
    assert max(b - a for a, b in pairwise(found.times)) == pytest.approx(0.44, abs=0.05)
    assert open_clip(source).warnings == [] == relayed(source, tmp_path / "b.mov")[1]


@pytest.mark.parametrize(
    "rate", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001), Fraction(120000, 1001)]
)
@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [("webm", "libvpx", {}), ("flv", "libx264", {}), ("mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"})],
)
def test_rates_that_containers_do_not_state(
    tmp_path: Path, suffix: str, codec: str, options: dict[str, str], rate: Fraction
) -> None:
    tick = Fraction(1, 1000) if suffix == "mp4" else Fraction(1, 90_000)
    plan = Flashing(frames=300, rate=rate, codec=codec, sound=None, tick=tick)
    clip = open_clip(flashing(tmp_path / f"a.{suffix}", plan, options))
    assert (clip.info.rate, clip.info.variable_rate, clip.count()) == (rate, False, 300)


def test_no_false_alarms(tmp_path: Path) -> None:
    """A picture that begins late, an edit list that hides frames, a last frame that stays: nothing is missing there."""
    late = flashing(tmp_path / "late.mp4", Flashing(frames=40, flash=5, late=Fraction(1)))
    for suffix in ("mp4", "mkv", "ts", "mov", "flv"):
        assert in_step(copied(late, tmp_path / f"l.{suffix}"), tmp_path / "b.mp4", [0.2], 40) == []
    hidden = copied(
        flashing(tmp_path / "h.mp4"), tmp_path / "h2.mp4", moved(Fraction(-1, 2)), {"avoid_negative_ts": "0"}
    )
    assert relayed(hidden, tmp_path / "b.mp4")[1] == []
    for suffix in ("mkv", "mp4"):
        still = flashing(tmp_path / f"s.{suffix}", Flashing(frames=80, flash=5, drop=tuple(range(10, 79))))
        assert in_step(still, tmp_path / "b.mp4", [0.2], 11) == []


def test_transport_streams_cut_at_packets_and_joined_lose_nothing(tmp_path: Path) -> None:
    whole = flashing(tmp_path / "a.mp4", Flashing(frames=30, flash=10))
    parts = [copied(whole, tmp_path / f"{n}.ts", moved(1 + n * 30 * FRAME)) for n in range(2)]
    source = tmp_path / "b.ts"
    source.write_bytes(b"".join(part.read_bytes() for part in parts))
    with av.open(str(source)) as container:
        assert any(packet.is_corrupt for packet in container.demux(video=0))  # so FFmpeg marks the join
    assert in_step(source, tmp_path / "c.mp4", [0.4, 1.6], 60) == []


def test_another_size_on_the_way_gets_bars(tmp_path: Path) -> None:
    parts = []
    for number, (width, height) in enumerate(((64, 64), (64, 32), (32, 32))):
        frames = [np.full((height, width, 3), 200, np.uint8)] * 5
        parts.append(make_video(tmp_path / f"{number}.ts", frames, options={"bf": "0"}))
    source = tmp_path / "a.ts"
    source.write_bytes(b"".join(part.read_bytes() for part in parts))
    clip = open_clip(source)
    frames = list(clip)
    assert len(frames) == 15 and {frame.shape for frame in frames} == {(64, 64, 3)}
    wide = frames[7]
    assert wide[:14].max() == wide[-14:].max() == 0 and wide[20:44].min() > 180
    assert frames[2].min() > 180 and frames[12].min() > 180
    assert len(clip.warnings) == 1 and "64 x 64" in clip.warnings[0] and "black bars" in clip.warnings[0]


@pytest.mark.parametrize("rate", [Fraction(60), Fraction(60000, 1001), Fraction(100), Fraction(120)])
def test_gif_has_no_delay_that_browsers_stretch(tmp_path: Path, rate: Fraction) -> None:
    source = make_video(tmp_path / "a.mp4", [numbered(i) for i in range(40)], rate)
    path, said = relayed(source, tmp_path / "b.gif")
    with av.open(str(path)) as container:
        found = [(packet.pts, packet.duration) for packet in container.demux(video=0) if packet.size]
    assert min(length for _, length in found) >= 2
    assert sum(length for _, length in found) == pytest.approx(float(4000 / rate), abs=1.5)
    assert len(said) == 1 and f"{40 - len(found)} of 40 frames" in said[0]


def test_stamps_made_steady() -> None:
    def times(*stamps: int | None) -> list[float]:
        given = ((None, None if at is None else Fraction(at)) for at in stamps)
        return [float(at) for _, at in steady(given, Fraction(1))]

    assert times(0, 1, 1, 3, 4) == [0, 1, 2, 3, 4]
    assert times(0, 1, 2, 1, 4) == [0, 1, 2, 3, 4]
    assert times(0, 1, 50, 3, 4) == [0, 1, 2, 3, 4]
    assert times(0, 1, 50, 51, 52) == [0, 1, 50, 51, 52]
    assert times(None, None, 7, 8) == [0, 1, 2, 3]
    assert times(0, 1, None, 3) == [0, 1, 2, 3]
    assert times(*range(10), *range(10)) == [*range(20)]
    assert times(5, 6, 7) == [5, 6, 7] and times(3) == [3] and times(3, 3) == [3, 4] and times(0, 99) == [0, 99]


def test_evenness_and_rate() -> None:
    ntsc = [Fraction(round(i * 1001 / Fraction(30)), 1000) for i in range(200)]
    tick = Fraction(1, 1000)
    assert even_rate(ntsc, [Fraction(2997, 100)], tick) == Fraction(30000, 1001)
    assert even_rate([*ntsc[:50], *ntsc[60:]], [Fraction(30)], tick) is None
    assert not is_uneven(ntsc, Fraction(30000, 1001), tick) and is_uneven(ntsc[:9] + ntsc[20:], Fraction(30), tick)
    assert on_grid(Fraction(41, 1000), Fraction(25)) == FRAME and on_grid(FRAME / 2, Fraction(25)) == FRAME / 2
