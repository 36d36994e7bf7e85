"""Small videos with a flash and a beep at the same moment, their time stamps spoilt in the ways that cameras,
browsers and cutting programs do; and what players show of a result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from mien.media import VideoWriter, open_clip

SIDE = 32
_LIMIT = 200  # grey level above which a frame is the flash
Change = Callable[[av.Packet], Iterable[av.Packet]]


@dataclass(frozen=True)
class Flashing:
    """How a sample is made. flash: its frame; drop: frames that are never encoded; times: of a frame by its number,
    seconds; late: seconds before the picture begins; sound: codec or None, with its rate and layout."""

    frames: int = 50
    rate: Fraction = Fraction(25)
    flash: int = 30
    drop: tuple[int, ...] = ()
    times: Callable[[int], Fraction] | None = None
    late: Fraction = Fraction(0)
    codec: str = "libx264"
    options: tuple[tuple[str, str], ...] = ()
    b_frames: int = 0
    sound: str | None = "aac"
    sound_rate: int = 48000
    layout: str = "stereo"
    size: tuple[int, int] = (SIDE, SIDE)
    tick: Fraction = Fraction(1, 90_000)

    def time(self, index: int) -> Fraction:
        """Seconds of a frame."""
        return self.late + (index / self.rate if self.times is None else self.times(index))


def flashing(path: Path, plan: Flashing | None = None, container_options: dict[str, str] | None = None) -> Path:
    """Write a sample as it should be."""
    plan = plan or Flashing()
    with av.open(str(path), "w", options=container_options or {}) as container:
        video: Any = container.add_stream(plan.codec, rate=plan.rate)
        video.width, video.height = plan.size
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = plan.tick
        video.codec_context.max_b_frames = plan.b_frames
        video.codec_context.gop_size = 10
        video.options = {**({"preset": "ultrafast"} if plan.codec == "libx264" else {}), **dict(plan.options)}
        if plan.b_frames:
            video.options = {"preset": "fast", "bf": str(plan.b_frames), "b-adapt": "0"}
        voice: Any = container.add_stream(plan.sound, rate=plan.sound_rate) if plan.sound else None
        if voice is not None:
            voice.codec_context.layout = plan.layout
        packets = list(_pictures(video, plan))
        if voice is not None:
            packets += _beeps(voice, plan)
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            container.mux(packet)
    return path


def _pictures(video: Any, plan: Flashing) -> Iterator[av.Packet]:
    for index in range(plan.frames):
        if index in plan.drop:
            continue
        level = 250 if index == plan.flash else 20 + 2 * (index % 40)
        pixels = np.full((plan.size[1], plan.size[0], 3), level, np.uint8)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = round(plan.time(index) / plan.tick), plan.tick
        yield from video.encode(frame)
    yield from video.encode(None)


def _beeps(voice: Any, plan: Flashing) -> list[av.Packet]:
    rate, channels = plan.sound_rate, 1 if plan.layout == "mono" else 2
    total = round((plan.time(plan.frames - 1) + 1 / plan.rate) * rate)
    samples, start = np.zeros(total, np.int16), round(plan.time(plan.flash) * rate)
    long = rate // 20
    samples[start : start + long] = 12000 * np.sin(2 * np.pi * 1000 * np.arange(long) / rate)[: total - start]
    found: list[av.Packet] = []
    for at in range(0, total, 1024):
        part = np.repeat(samples[at : at + 1024], channels)[None]
        block = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), format="s16", layout=plan.layout)
        block.sample_rate, block.pts, block.time_base = rate, at, Fraction(1, rate)
        found += voice.encode(block)
    return found + list(voice.encode(None))


def copied(
    source: Path, target: Path, change: Change | None = None, container_options: dict[str, str] | None = None
) -> Path:
    """Copy packets into another file. change: gives what to write in place of each packet."""
    with av.open(str(source)) as given, av.open(str(target), "w", options=container_options or {}) as container:
        streams = {
            s.index: container.add_stream_from_template(s) for s in given.streams if s.type in ("video", "audio")
        }
        for packet in given.demux():
            if packet.dts is None and packet.pts is None:
                continue
            index = packet.stream.index
            for one in [packet] if change is None else change(packet):
                one.stream = streams[index]
                container.mux_one(one)
    return target


def spoilt(path: Path, first: int, after: int) -> Path:
    """Overwrite packets of the picture, from number `first` to before `after`, so that they cannot be decoded."""
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for at, size in places[first:after]:
        data[at : at + size] = bytes(size)
    path.write_bytes(bytes(data))
    return path


def relayed(source: Path, target: Path) -> tuple[Path, list[str]]:
    """Read a driver and write its frames with its sound, as the program does; the path, and what was said."""
    clip = open_clip(source)
    with VideoWriter(
        target, rate=clip.info.rate, size=(clip.info.width, clip.info.height), audio_from=source, quality=8
    ) as writer:
        for _ in clip:  # for its faces
            pass
        writer.timestamps = clip.info.variable_rate
        for frame, moment in zip(clip, clip.moments(), strict=True):
            writer.write(frame, clip.start + moment)
    return target, [*clip.warnings, *writer.warnings]


@dataclass(frozen=True)
class Shown:
    """What a player shows of a file. Seconds from its first frame on: of all frames, of flashes, of beeps, and of the
    sound's end."""

    times: list[float]
    flashes: list[float]
    beeps: list[float]
    sound_end: float | None


def shown(path: Path) -> Shown:
    """Play a file by its time stamps, with PyAV alone."""
    times, flashes = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            at = float(frame.pts * frame.time_base)
            times.append(at)
            if frame.to_ndarray(format="gray").mean() > _LIMIT:
                flashes.append(at)
    loud, end = [], None
    with av.open(str(path)) as container:
        for sound in container.decode(audio=0) if container.streams.audio else ():
            values = sound.to_ndarray().astype(np.float64) / (1 if "flt" in sound.format.name else 32768)
            channels = 1 if sound.format.is_planar else len(sound.layout.channels)
            level = np.abs(values).max(0).reshape(-1, channels).max(1)
            at = float(sound.pts * sound.time_base)
            loud += [at + i / sound.sample_rate for i in np.flatnonzero(level > 0.1)]
            end = at + sound.samples / sound.sample_rate
    places = np.array(loud)
    first = places[np.flatnonzero(np.diff(places, prepend=-9) > 0.1)].tolist() if loud else []
    origin = times[0]
    return Shown(
        [at - origin for at in times],
        [at - origin for at in flashes],
        [at - origin for at in first],
        None if end is None else end - origin,
    )
