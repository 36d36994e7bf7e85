"""Small media files made on the spot: videos of numbered frames, sound, damage."""

from __future__ import annotations

import struct
import wave
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

WIDTH, HEIGHT = 64, 48
PATCHES = ((0, 0, 0), (255, 255, 255), (220, 30, 40), (30, 200, 60), (30, 60, 210), (205, 160, 130), (128, 128, 128))


def numbered(index: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A flat grey frame whose level tells its number (up to 40)."""
    return np.full((height, width, 3), 20 + 5 * index, np.uint8)


def number_of(frame: np.ndarray) -> int:
    """The number of a `numbered` frame, after whatever coding."""
    return round((float(frame[8:24, 8:24].mean()) - 20) / 5)


def patches(size: int = 32) -> np.ndarray:
    """Flat squares of colour side by side."""
    return np.repeat(np.repeat(np.array([PATCHES], np.uint8), size, axis=0), size, axis=1)


def patch_error(frame: np.ndarray, size: int = 32) -> int:
    """The largest difference to `patches`, away from the borders where chroma bleeds."""
    inner = slice(size // 4, -size // 4)
    wanted, got = (a.astype(int).reshape(size, len(PATCHES), size, 3)[inner, :, inner] for a in (patches(size), frame))
    return int(np.abs(wanted - got).max())


def corners(width: int = 64, height: int = 32) -> np.ndarray:
    """Four colours, one a quarter, so that every turn and mirror image is distinct."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (230, 30, 30)
    image[: height // 2, width // 2 :] = (30, 200, 30)
    image[height // 2 :, : width // 2] = (30, 30, 230)
    image[height // 2 :, width // 2 :] = (240, 240, 240)
    return image


def make_video(
    path: Path,
    frames: Sequence[np.ndarray],
    rate: Fraction = Fraction(25),
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    times: Sequence[Fraction] | None = None,
    layout: str = "rgb24",
    tags: dict[str, int] | None = None,
    scaling: dict[str, Any] | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    sound: tuple[str, Fraction] | None = None,
    aspect: Fraction | None = None,
    start: Fraction = Fraction(0),
) -> Path:
    """Write a video with PyAV alone, independent of the code under test. sound: (codec, seconds)."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.options = pixel_format, options or {}
        step = Fraction(1, 12800) if times is not None else 1 / rate
        stream.codec_context.time_base = step
        if times is not None:
            stream.codec_context.max_b_frames = 0
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        voice: Any = container.add_stream(sound[0], rate=48000) if sound else None
        if sound:
            voice.codec_context.layout = "stereo"
        scaler = VideoReformatter()
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format=layout)
            frame = scaler.reformat(frame, format=pixel_format, **(scaling or {}))
            at = start + (times[index] if times is not None else index / rate)
            frame.pts, frame.time_base = round(at / step), step
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound:
            for block in tone_blocks(sound[1]):
                container.mux(voice.encode(block))
            container.mux(voice.encode(None))
    return path


def tone(seconds: Fraction) -> np.ndarray:
    """A 440 Hz tone of 48 kHz, mono, int16."""
    return (8000 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * 48000)) / 48000)).astype(np.int16)


def tone_blocks(seconds: Fraction) -> list[av.AudioFrame]:
    """`tone` as stereo frames of 1024 samples."""
    samples, blocks = tone(seconds), []
    for at in range(0, len(samples), 1024):
        part = samples[at : at + 1024]
        block = av.AudioFrame.from_ndarray(np.repeat(part, 2)[None], format="s16", layout="stereo")
        block.sample_rate, block.pts, block.time_base = 48000, at, Fraction(1, 48000)
        blocks.append(block)
    return blocks


def make_wav(path: Path, seconds: Fraction) -> Path:
    """A WAV file of `tone`."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48000)
        file.writeframes(tone(seconds).tobytes())
    return path


def set_matrix(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Put a display matrix into the first track header of an MP4 file (ISO 14496-12, 8.3.2), as phones do."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: the matrix follows 40 bytes of other fields
    one = 1 << 16
    data[at : at + 36] = struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    path.write_bytes(bytes(data))


def cut(source: Path, target: Path, part: float) -> Path:
    """Copy only the first part of a file."""
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * part)])
    return target


def streams_of(path: Path) -> dict[str, Any]:
    """What plain PyAV says about a result: the way other programs will see it."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        audio = container.streams.audio[0] if container.streams.audio else None
        order = [(p.stream.type, float(p.dts * p.time_base)) for p in container.demux() if p.dts is not None and p.size]
        found = {
            "rate": video.average_rate,
            "codec": video.codec_context.name,
            "audio": audio and audio.codec_context.name,
            "audio_end": audio and max((t for kind, t in order if kind == "audio"), default=None),
            "order": order,
            "metadata": dict(container.metadata),
        }
    with av.open(str(path)) as container:
        found["frames"] = [number_of(f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]
    return found


def loudness(path: Path) -> np.ndarray:
    """Mean absolute level of each 1/50 second of a file's sound, placed by time stamps."""
    levels = np.zeros(3000)
    last = 0
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray().astype(np.float64)
            slot = int(round(float(frame.pts * frame.time_base) * 50))
            if slot >= 0:
                levels[slot] = max(levels[slot], float(np.abs(samples).mean()))
                last = max(last, slot)
    return levels[: last + 1]
