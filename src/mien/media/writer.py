"""Videos written frame by frame: exact rate, exact count, the driving video's sound, whole files or none."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import cv2
import numpy as np

from mien.errors import MienError, OutputError
from mien.media.audio import Sound
from mien.media.colour import BT709, LIMITED_RANGE, MATRIX_BT601, FromRGB
from mien.media.files import remove_quietly, temporary_beside, unwritable
from mien.media.palette import Palette
from mien.media.watermark import marked

_MUXERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".gif": "gif"}
_ENCODERS = {"mp4": "libx264", "mov": "libx264", "matroska": "libx264", "webm": "libvpx-vp9", "gif": "gif"}
# Keys that MP4 stores where every player looks; others need a newer table, which older players do not read.
_COMMON_TAGS = frozenset({"title", "artist", "album", "comment", "copyright", "date", "description", "genre"})
_FINE = 90_000  # ticks a second, at least, for frames that come with their own times
_LARGEST_TERM = 2**31 - 1  # FFmpeg's rationals
_SHORTEST_GIF = 2  # hundredths of a second; browsers take less for 10
_AVX_512F = 13  # OpenCV's number for it


class VideoWriter:
    """Write a video one frame at a time, as a context manager.

    The suffix chooses the format: MP4, MOV and MKV hold H.264, WebM holds VP9 (both 8 bit 4:2:0, BT.601 limited range,
    tagged so), GIF holds a palette for each frame and no sound, and frames that come faster than browsers play it (one
    every 20 ms) are left out. Sizes are made even for 4:2:0 by repeating the last row or column. The file appears under
    its name only when the block ends without an exception. Entering the block raises InputError for `audio_from` and
    OutputError if the file cannot be written.

    Attributes:
        warnings: sentences about sound that could not be used.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        rate: Fraction | int,
        size: tuple[int, int],
        audio_from: str | Path | None = None,
        audio_start: Fraction = Fraction(0),
        timestamps: bool | None = None,
        quality: int = 17,
        metadata: Mapping[str, str] | None = None,
        watermark: bool = False,
    ) -> None:
        """Check the arguments; nothing is written before the block is entered.

        Args:
            path: of the file.
            rate: frames per second; the container's average rate equals it exactly (MKV and WebM store steps of
                nanoseconds and GIF hundredths of a second, so there only rates that these can express).
            size: width and height of the frames, pixels.
            audio_from: a file whose sound is copied, or encoded anew if the container cannot hold it, for as long as
                the video lasts; files without sound are fine.
            audio_start: seconds of `audio_from`, on the clock of its `Clip.timed()`, at which the first frame lies, if
                frames come without times.
            timestamps: True if every frame comes with its own time (variable rate), False to ignore all such times but
                the first, at which the sound begins, None to let the first frame decide; it may be set until that frame
                is written.
            quality: x264's CRF, 0 (best) to 51.
            metadata: tags such as title and comment.
            watermark: put the mark of `mien.media.watermark` into every frame.

        Raises:
            OutputError: if the suffix asks for no known format.
            ValueError: for bad arguments.
        """
        self.path, self.rate, self.size = Path(path), Fraction(rate), (int(size[0]), int(size[1]))
        self.frames = 0
        self.warnings: list[str] = []
        self._muxer = muxer_for(self.path)
        if self.rate <= 0 or max(self.rate.numerator, self.rate.denominator) > _LARGEST_TERM:
            raise ValueError(f"a rate is a positive fraction of 32-bit whole numbers, not {rate}")
        if min(self.size) < 1:
            raise ValueError(f"a frame has at least one pixel, not {size[0]} x {size[1]}")
        if not 0 <= quality <= 51:
            raise ValueError(f"quality is a CRF from 0 to 51, not {quality}")
        self._audio_from = None if audio_from is None else Path(audio_from)
        self.timestamps = timestamps
        self._audio_start, self._quality = Fraction(audio_start), quality
        self._metadata, self._watermark = dict(metadata or {}), watermark
        self._container: Any = None
        self._sound: Sound | None = None
        self._held: av.Packet | None = None
        self._first_time = self._last_time = Fraction(0)
        self._last_pts, self._last_gap = -1, 0
        self._left_out = 0

    def __enter__(self) -> VideoWriter:
        self._temporary = temporary_beside(self.path)
        try:
            self._open()
        except BaseException as error:
            self._abandon()
            raise self._explained(error) from error
        return self

    def write(self, frame: np.ndarray, time: Fraction | None = None) -> None:
        """Append a frame.

        Args:
            frame: uint8 RGB ``[height, width, 3]``.
            time: its presentation time in seconds, later than the one before, on any clock; the first one becomes the
                start of the video. With `audio_from` that clock is the source's `Clip.timed()`, and the sound starts
                there.
        """
        if self._container is None:
            raise RuntimeError("VideoWriter is a context manager: write frames inside its `with` block")
        width, height = self.size
        if frame.shape != (height, width, 3) or frame.dtype != np.uint8:
            raise ValueError(f"a frame of this video is uint8 [{height}, {width}, 3], not {frame.dtype} {frame.shape}")
        try:
            if self.frames == 0:
                self._start(time)
            pts = self._next_pts(time)
            self.frames += 1
            if pts is None:
                self._left_out += 1
                return
            picture = self._picture(marked(frame) if self._watermark else frame)
            picture.pts, picture.time_base = pts, self._step
            self._mux(self._stream.encode(picture))
        except (av.error.FFmpegError, OSError) as error:
            raise unwritable(self.path, error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._abandon()
            return
        try:
            self._finish()
            os.replace(self._temporary, self.path)
        except BaseException as failure:
            self._abandon()
            raise self._explained(failure) from failure

    def _open(self) -> None:
        options = {}
        if self._muxer in ("mp4", "mov"):
            common = {key.lower() for key in self._metadata} <= _COMMON_TAGS
            options["movflags"] = "faststart" if common else "faststart+use_metadata_tags"
        self._container = av.open(str(self._temporary.absolute()), "w", format=self._muxer, container_options=options)
        self._container.metadata.update(self._metadata)
        self._stream = self._container.add_stream(_ENCODERS[self._muxer], rate=self.rate)
        self._configure(self._stream)
        if self._audio_from is not None:
            self._sound = Sound(self._audio_from, self._container, self._muxer)

    def _configure(self, stream: Any) -> None:
        width, height = self.size
        self._picture: _Padded | Palette
        if self._muxer == "gif":
            stream.width, stream.height, stream.pix_fmt = width, height, "pal8"
            self._picture = Palette(width, height)
            return
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        context = stream.codec_context
        context.colorspace, context.color_range = MATRIX_BT601, LIMITED_RANGE
        context.color_primaries = context.color_trc = BT709
        if self._muxer == "webm":
            context.bit_rate = 0  # else the quality is only a lower bound
            crf = round(self._quality * 63 / 51)
            stream.options = {"crf": str(crf), "deadline": "good", "cpu-used": "4", "row-mt": "1"}
        else:
            stream.options = {"crf": str(self._quality), "preset": "medium"} | _repeatable()
        self._picture = _Padded(FromRGB("yuv420p"))

    def _start(self, time: Fraction | None) -> None:
        """Fix the time base, which depends on whether frames bring their own times."""
        self._timed = time is not None if self.timestamps is None else self.timestamps
        if time is not None:
            self._audio_start = Fraction(time)
        context = self._stream.codec_context
        # Each tick divides both a second and the whole duration (frames / rate), so the average comes out exactly.
        self._step = 1 / self.rate
        if self._timed:
            self._first_time = Fraction(time or 0)
            finer = min(-(-_FINE // self.rate.numerator), _LARGEST_TERM // self.rate.numerator)
            self._step = Fraction(1, self.rate.numerator * finer)
        if self._muxer == "gif":
            self._step = Fraction(1, 100)
        if self._timed or self._muxer == "matroska":
            # Decoding order is then showing order: uneven steps keep their lengths, and Matroska starts at 0.
            context.max_b_frames = 0
        context.time_base = self._step
        if self._sound is not None:
            self._sound.begin(self._audio_start)

    def _next_pts(self, time: Fraction | None) -> int | None:
        """The frame's place in ticks; None if it comes too soon for a GIF."""
        if not self._timed:
            at = self.frames / self.rate
        elif time is None:
            raise ValueError("the first frame came with a time, so every frame needs one")
        else:
            at = Fraction(time) - self._first_time
            if self.frames and time <= self._last_time:
                raise ValueError(f"frame times increase, but {time} comes after {self._last_time}")
            self._last_time = Fraction(time)
        pts = max(round(at / self._step), self._last_pts + 1)
        if self._muxer == "gif" and self.frames and pts - self._last_pts < _SHORTEST_GIF:
            pts = self._last_pts + _SHORTEST_GIF
            if pts - at / self._step > 1 / (2 * self.rate * self._step):
                return None  # nearer to the next frame's time than to its own
        self._last_gap = pts - self._last_pts if self.frames else 0
        self._last_pts = pts
        return pts

    def _mux(self, packets: Iterable[av.Packet]) -> None:
        """Write packets one behind, since how long a frame lasts is known when the next one comes."""
        for packet in packets:
            if self._held is not None:
                self._put(self._held, (packet.dts or 0) - (self._held.dts or 0))
            self._held = packet

    def _put(self, packet: av.Packet, duration: int) -> None:
        packet.duration = duration
        if self._sound is not None:
            self._sound.feed((packet.dts or 0) * (packet.time_base or self._step))
        self._container.mux(packet)

    def _finish(self) -> None:
        if self.frames == 0:
            raise OutputError(f"{self.path} was not written: there was not one frame to write; check the input.")
        end = self.frames / self.rate
        self._mux(self._stream.encode(None))
        if self._held is not None:
            # The last frame fills up to count / rate, so that the average is the rate. Times that leave no room there
            # (the driver lost frames) win over the average.
            shortest = _SHORTEST_GIF if self._muxer == "gif" else 1
            remaining = round(end / self._step) - self._last_pts
            self._last_gap = max(shortest, remaining if remaining > 0 else self._last_gap)
            self._put(self._held, self._last_gap)
        if self._left_out:
            self.warnings.append(
                f"{self.path} shows at most 50 frames a second, which is all that browsers play of a GIF: "
                f"{self._left_out} of {self.frames} frames are left out, and the length stays."
            )
        if self._sound is not None:
            self._sound.feed(max(end, (self._last_pts + self._last_gap) * self._step))
            self.warnings += self._sound.warnings
            self._sound.close()
        self._container.close()
        self._container = None

    def _abandon(self) -> None:
        if self._sound is not None:
            self._sound.close()
        if self._container is not None:
            with suppress(av.error.FFmpegError, OSError, ValueError):
                self._container.close()
            self._container = None
        remove_quietly(self._temporary)

    def _explained(self, error: BaseException) -> BaseException:
        known = isinstance(error, (av.error.FFmpegError, OSError)) and not isinstance(error, MienError)
        return unwritable(self.path, error) if known else error


class _Padded:
    """Makes width and height even by repeating the last column and row, then converts."""

    def __init__(self, convert: FromRGB) -> None:
        self._convert = convert

    def __call__(self, pixels: np.ndarray) -> av.VideoFrame:
        height, width = pixels.shape[:2]
        if height % 2 or width % 2:
            pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        return self._convert(pixels)


def _repeatable() -> dict[str, str]:
    """Options by which x264 gives the same bits for the same frames: with AVX-512 it does not, for small pictures."""
    return {"x264-params": "asm=avx2"} if cv2.checkHardwareSupport(_AVX_512F) else {}


def muxer_for(path: Path) -> str:
    """FFmpeg's name of the container that a suffix asks for.

    Raises:
        OutputError: if there is none.
    """
    muxer = _MUXERS.get(path.suffix.lower())
    if muxer is None:
        raise OutputError(f"{path} cannot be written: choose a name that ends in one of {', '.join(_MUXERS)}.")
    return muxer


def write_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    rate: Fraction | int,
    *,
    times: Iterable[Fraction] | None = None,
    audio_from: str | Path | None = None,
    audio_start: Fraction = Fraction(0),
    quality: int = 17,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write frames as they come; the first one sets the size.

    Args:
        path: of the file.
        frames: uint8 RGB ``[height, width, 3]``.
        rate: frames a second.
        times: of each frame in seconds, for variable rate.
        audio_from: see `VideoWriter`.
        audio_start: see `VideoWriter`.
        quality: see `VideoWriter`.
        metadata: see `VideoWriter`.

    Returns:
        The path.

    Raises:
        OutputError: if there are no frames or the file cannot be written.
    """
    path = Path(path)
    muxer_for(path)
    stream = iter(frames)
    first = next(stream, None)
    if first is None:
        raise OutputError(f"{path} was not written: there was not one frame to write; check the input.")
    clock = None if times is None else iter(times)
    with VideoWriter(
        path,
        rate=rate,
        size=(first.shape[1], first.shape[0]),
        audio_from=audio_from,
        audio_start=audio_start,
        timestamps=clock is not None,
        quality=quality,
        metadata=metadata,
    ) as writer:
        for frame in _with_first(first, stream):
            writer.write(frame, None if clock is None else next(clock, None))
    return path


def _with_first(first: np.ndarray, rest: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    yield first
    yield from rest
