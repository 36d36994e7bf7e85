"""Drivers opened for reading: a video, an animated GIF, an image or a folder of images, one frame at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from mien.errors import InputError
from mien.media import probe
from mien.media.animated import animation_frames, animation_timing
from mien.media.colour import ToRGB, matrix_and_range
from mien.media.files import readable_file, unreadable
from mien.media.hdr import ColourSpace, exposed, space_of
from mien.media.image import image_size, read_image
from mien.media.kind import is_gif, kind_of
from mien.media.probe import ClipInfo

_STILL_RATE = Fraction(25)


class Clip:
    """A driver. Iterate it as often as needed: every iteration opens the file anew and holds one frame at a time.

    info: what the container says (see ClipInfo). warnings: sentences about frames that could not be read, filled while
    iterating; damage costs the damaged frames, not the run. start: seconds of the file at which the first frame lies,
    later than 0 only for a part of a clip.
    """

    def __init__(self, info: ClipInfo) -> None:
        self.info = info
        self.start = Fraction(0)
        self.warnings: list[str] = []

    def __iter__(self) -> Iterator[np.ndarray]:
        """Frames, uint8 RGB ``[height, width, 3]``, upright, all of the size in `info`."""
        for frame, _ in self.timed():
            yield frame

    def timed(self) -> Iterator[tuple[np.ndarray, Fraction]]:
        """Frames with their presentation times in seconds, on a clock that starts at the clip's first frame.

        Times strictly increase. Raises InputError if not one frame can be read.
        """
        raise NotImplementedError

    def count(self) -> int:
        """The exact number of frames that iterating gives; decodes the clip only if its container does not tell."""
        raise NotImplementedError

    def _warn(self, sentence: str) -> None:
        if sentence not in self.warnings:
            self.warnings.append(sentence)


def open_clip(path: str | Path, *, fps: Fraction | None = None) -> Clip:
    """Open a video (MP4, MOV, WebM, MKV, ...), an image, an animated one (GIF, WebP, PNG), or a folder of images.

    What a file is, its content says, not its name. The images of a folder are taken in natural order.
    fps: frames per second of an image or a folder (25 by default); what moves keeps its own rate.
    Raises InputError if nothing there can be read.
    """
    path = Path(path)
    if fps is not None and fps <= 0:
        raise InputError(f"The rate {fps} given for {path} is not positive; give frames per second, such as 25.")
    rate = Fraction(fps) if fps is not None else _STILL_RATE
    try:
        is_folder = path.is_dir()
    except OSError as error:  # such as a name that is too long to be looked up
        raise unreadable(path, error) from error
    if is_folder:
        return _FolderClip(path, rate)
    readable_file(path, "video or image")
    kind = kind_of(path)
    if kind == "image":
        return _ImageClip(path, rate)
    return _AnimationClip(path) if kind == "animation" and not is_gif(path) else _VideoClip(path)


def read_video(path: str | Path) -> Clip:
    """Open a video as a stream of frames; the same as `open_clip`."""
    return open_clip(path)


class _VideoClip(Clip):
    def __init__(self, path: Path) -> None:
        with probe.opened(path) as container:
            stream = probe.video_stream(container, path)
            first = _first_frame(container, stream)
            if first is None:
                raise InputError(f"{path} has no frame that can be decoded; copy it again or convert it to MP4.")
            self._stored_size = probe.square_size(stream, first)
            self._turns, self._mirrored = probe.orientation(first)
            has_audio = probe.sound_stream(container) is not None
            self._space, self._scaling = space_of(first, stream), matrix_and_range(first)
            self._exposed: ColourSpace | None = None
        # A second opening, because the first has read ahead and not every container can go back.
        with probe.opened(path) as container:
            stream = probe.video_stream(container, path)
            timing = probe.timing(container, stream, path)
            tagged = probe.tagged_duration(stream)
        width, height = self._stored_size[::-1] if self._turns % 2 else self._stored_size
        super().__init__(
            ClipInfo(
                path=path,
                kind="video",
                width=width,
                height=height,
                rate=timing.rate,
                frames=timing.frames,
                duration=timing.duration,
                has_audio=has_audio,
                rotation=90 * self._turns,
                variable_rate=timing.variable,
            )
        )
        self._count = timing.frames if timing.counted else None
        self._promised = tagged
        self._damaged = False

    def timed(self) -> Iterator[tuple[np.ndarray, Fraction]]:
        to_rgb, done = ToRGB(self._mapped_space()), 0
        with probe.opened(self.info.path) as container:
            stream = probe.video_stream(container, self.info.path)
            stream.thread_type = "AUTO"
            promised, clock = stream.frames, _Clock(self.info.rate, stream.time_base or Fraction(1, 1000))
            hidden = 0
            for packet in self._packets(container, stream):
                hidden += bool(packet.size and packet.is_discard)
                for frame in self._decoded(packet):
                    pixels = to_rgb(frame, *self._stored_size)
                    yield probe.upright(pixels, self._turns, self._mirrored), clock.time_of(frame)
                    done += 1
        if done == 0:
            raise InputError(f"{self.info.path} has no frame that can be decoded; copy it again or convert it to MP4.")
        self._settle(done, promised - hidden, clock.last)

    def count(self) -> int:
        if self._count is None:
            with probe.opened(self.info.path) as container:
                self._count = probe.count_packets(container, probe.video_stream(container, self.info.path))
            if self._count is None:
                self._count = self._count_by_decoding()
            self.info = replace(self.info, frames=self._count, duration=self._count / self.info.rate)
        return self._count

    def _mapped_space(self) -> ColourSpace | None:
        """The clip's colour space, exposed for its brightness, if it is not that of plain video."""
        if self._space is not None and self._exposed is None:
            with probe.opened(self.info.path) as container:
                stream = probe.video_stream(container, self.info.path)
                self._exposed = exposed(self._space, container, stream, self._scaling)
        return self._exposed

    def _count_by_decoding(self) -> int:
        with probe.opened(self.info.path) as container:
            stream = probe.video_stream(container, self.info.path)
            stream.thread_type = "AUTO"
            return sum(len(self._decoded(packet)) for packet in self._packets(container, stream))

    def _packets(self, container: InputContainer, stream: VideoStream) -> Iterator[av.Packet]:
        """Packets to the end, or to where reading breaks; the flushing packet comes last in either case."""
        try:
            for packet in container.demux(stream):
                if packet.is_corrupt:
                    self._damaged = True
                    continue
                yield packet
        except (av.error.FFmpegError, OSError):
            self._damaged = True
            end = av.Packet()
            end.stream = stream
            yield end

    def _decoded(self, packet: av.Packet) -> list[av.VideoFrame]:
        try:
            return packet.decode()  # type: ignore[return-value]  # a packet of a video stream gives video frames
        except (av.error.FFmpegError, OSError):
            self._damaged = self._damaged or packet.size > 0
            return []

    def _looks_cut(self, last: Fraction) -> bool:
        """Whether a Matroska file ends well before the duration it states (its demuxer ends without a word)."""
        if self._promised is None:
            return False
        return last < self._promised * Fraction(9, 10) - 1 / self.info.rate

    def _settle(self, done: int, promised: int, last: Fraction) -> None:
        """After a whole pass the count is known; say so if the container had promised more."""
        if done < promised:
            self._warn(f"{self.info.path} is damaged or cut off: {promised - done} of {promised} frames are missing.")
        elif self._damaged:
            self._warn(f"{self.info.path} is damaged or cut off: some of its frames could not be read.")
        elif self._looks_cut(last):
            self._warn(f"{self.info.path} is cut off: it ends before the duration it states.")
        self._count = done
        self.info = replace(self.info, frames=done, duration=done / self.info.rate)


class _Clock:
    """Presentation times counted from the first frame, kept strictly increasing.

    A missing time is the previous one plus a frame; after a jump backwards (joined recordings) the clock runs on.
    """

    def __init__(self, rate: Fraction, step: Fraction) -> None:
        self._frame, self._step = 1 / rate, step
        self._origin: Fraction | None = None
        self.last = -self._frame

    def time_of(self, frame: av.VideoFrame) -> Fraction:
        following = self.last + self._frame
        if frame.pts is None:
            time = following
        else:
            stamp = frame.pts * Fraction(frame.time_base or self._step)
            if self._origin is None:
                self._origin = stamp - following
            time = stamp - self._origin
            if time <= self.last:
                time = following
                self._origin = stamp - following
        self.last = time
        return time


class _ImageClip(Clip):
    def __init__(self, path: Path, rate: Fraction) -> None:
        width, height = image_size(path)
        super().__init__(ClipInfo(path, "image", width, height, rate, frames=1, duration=1 / rate))

    def timed(self) -> Iterator[tuple[np.ndarray, Fraction]]:
        yield read_image(self.info.path), Fraction(0)

    def count(self) -> int:
        return 1


class _AnimationClip(Clip):
    """An animated WebP, PNG or AVIF. `kind` is "video", for that is how it is shown."""

    def __init__(self, path: Path) -> None:
        (width, height), timing = image_size(path), animation_timing(path)
        self._times = timing.times
        info = ClipInfo(path, "video", width, height, timing.rate, len(timing.times), timing.length)
        super().__init__(replace(info, variable_rate=not timing.even))

    def timed(self) -> Iterator[tuple[np.ndarray, Fraction]]:
        yield from zip(animation_frames(self.info.path), self._times, strict=True)

    def moments(self) -> list[Fraction]:
        """The times that `timed()` gives."""
        return list(self._times)

    def count(self) -> int:
        return len(self._times)


class _FolderClip(Clip):
    def __init__(self, path: Path, rate: Fraction) -> None:
        try:
            self._files = sorted((p for p in path.iterdir() if _is_picture(p)), key=lambda p: _natural(p.name))
        except OSError as error:
            raise InputError(f"{path} cannot be listed ({error.strerror}); change its rights.") from error
        if not self._files:
            raise InputError(f"{path} holds no images; put PNG or JPEG files into it, or give a video.")
        width, height = image_size(self._files[0])
        for file in self._files[1:]:
            if (size := image_size(file)) != (width, height):
                raise InputError(
                    f"{path} holds images of different sizes ({self._files[0].name} is {width} x {height}, "
                    f"{file.name} is {size[0]} x {size[1]}); a folder is read as one clip, so make them equal."
                )
        frames = len(self._files)
        super().__init__(ClipInfo(path, "folder", width, height, rate, frames=frames, duration=frames / rate))

    def timed(self) -> Iterator[tuple[np.ndarray, Fraction]]:
        held: np.ndarray | None = None
        for index, file in enumerate(self._files):
            try:
                held = read_image(file)
            except InputError as error:
                # Hold the frame before, so that one bad file neither ends the run nor shifts what follows.
                if held is None:
                    raise
                self._warn(f"{error} The image before it was shown instead.")
                held = held.copy()
            yield held, index / self.info.rate

    def count(self) -> int:
        return len(self._files)


def _is_picture(path: Path) -> bool:
    return not path.name.startswith(".") and path.is_file() and kind_of(path) in ("image", "animation")


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key by which frame2 comes before frame10."""
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in re.split(r"(\d+)", name)]


def _first_frame(container: InputContainer, stream: VideoStream) -> av.VideoFrame | None:
    """The first frame that decodes; packets before it that do not are passed over."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return None
            if not packet.is_corrupt:
                for frame in packet.decode():
                    return frame  # type: ignore[return-value]  # a packet of a video stream gives video frames
        except (av.error.FFmpegError, OSError):
            continue  # if the demuxer broke, its generator is over and gives None next
