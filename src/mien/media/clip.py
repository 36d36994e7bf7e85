"""Driving videos opened for reading: a video, an animated GIF, an image or a folder of images, one frame at a time."""

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
from mien.media.clock import is_uneven, joins_of, lasting, steady
from mien.media.colour import ToRGB, matrix_and_range
from mien.media.files import readable_file, unreadable
from mien.media.hdr import ColourSpace, exposed, space_of
from mien.media.image import image_size, read_image
from mien.media.kind import is_gif, kind_of
from mien.media.probe import ClipInfo

_STILL_RATE = Fraction(25)


class Clip:
    """A driving video, which may be iterated as often as needed.

    Every iteration opens the file anew and holds one frame at a time.

    Attributes:
        info: what the container says.
        warnings: sentences about frames that could not be read, filled while iterating; damage costs the damaged
            frames, not the run.
        start: seconds of the file at which the first frame lies, later than 0 only for a part of a clip.
        tick: seconds to which the container rounds times.
    """

    tick = Fraction(1, 1000)

    def __init__(self, info: ClipInfo) -> None:
        self.info = info
        self.start = Fraction(0)
        self.warnings: list[str] = []

    def __iter__(self) -> Iterator[np.ndarray]:
        """Frames, uint8 RGB ``[height, width, 3]``, upright, all of the size in `info`."""
        for frame, _ in self.timed():
            yield frame

    def timed(self) -> Iterator[tuple[np.ndarray, Fraction]]:
        """Frames with their presentation times, on a clock that starts at the clip's first frame.

        Yields:
            uint8 RGB ``[height, width, 3]`` and seconds, which strictly increase.

        Raises:
            InputError: if not one frame can be read.
        """
        raise NotImplementedError

    def count(self) -> int:
        """The exact number of frames that iterating gives; decodes the clip only if its container does not tell."""
        raise NotImplementedError

    def moments(self) -> list[Fraction]:
        """The times that `timed()` gives, on the grid of the rate if they are even; certain after one reading."""
        return [index / self.info.rate for index in range(self.count())]

    def _warn(self, sentence: str) -> None:
        if sentence not in self.warnings:
            self.warnings.append(sentence)


def open_clip(path: str | Path, *, fps: Fraction | None = None) -> Clip:
    """Open a video (MP4, MOV, WebM, MKV, ...), an image, an animated one (GIF, WebP, PNG), or a folder of images.

    What a file is, its content says, not its name. The images of a folder are taken in natural order.

    Args:
        path: a file or a folder.
        fps: frames per second of an image or a folder (25 by default); what moves keeps its own rate.

    Raises:
        InputError: if nothing there can be read.
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
            first = probe.first_frame(container, stream)
            if first is None:
                raise InputError(f"{path} has no frame that can be decoded; copy it again or convert it to MP4.")
            self._stored_size = probe.square_size(stream, first)
            self._aspect = Fraction(self._stored_size[0], first.width)
            self._turns, self._mirrored = probe.orientation(first)
            has_audio = probe.sound_stream(container) is not None
            self._space, self._scaling = space_of(first, stream), matrix_and_range(first)
            self._exposed: ColourSpace | None = None
        # A second opening, because the first has read ahead and not every container can go back.
        with probe.opened(path) as container:
            self._timing = timing = probe.timing(container, probe.video_stream(container, path), path)
        width, height = self._stored_size[::-1] if self._turns % 2 else self._stored_size
        super().__init__(
            ClipInfo(
                path=path,
                kind="video",
                width=width,
                height=height,
                rate=timing.rate,
                frames=timing.frames or None,
                duration=timing.duration,
                has_audio=has_audio,
                rotation=90 * self._turns,
                variable_rate=timing.variable,
            )
        )
        self.tick = timing.tick
        self._times: list[Fraction] | None = None  # known after a whole pass
        self._damaged = False

    def timed(self) -> Iterator[tuple[np.ndarray, Fraction]]:
        to_rgb = ToRGB(self._mapped_space())
        for frame, time in self._frames():
            yield probe.upright(self._fitted(frame, to_rgb), self._turns, self._mirrored), time

    def count(self) -> int:
        if self._times is None and not self._timing.counted:
            for _ in self._frames():
                pass
        return self._timing.frames if self._times is None else len(self._times)

    def _mapped_space(self) -> ColourSpace | None:
        """The clip's colour space, exposed for its brightness, if it is not that of plain video."""
        if self._space is not None and self._exposed is None:
            with probe.opened(self.info.path) as container:
                stream = probe.video_stream(container, self.info.path)
                self._exposed = exposed(self._space, container, stream, self._scaling)
        return self._exposed

    def moments(self) -> list[Fraction]:
        frames = self.count()
        if not self.info.variable_rate:
            return [index / self.info.rate for index in range(frames)]
        return self._timing.moments() if self._times is None else self._times

    def _frames(self) -> Iterator[tuple[av.VideoFrame, Fraction]]:
        """Decoded frames with their times; a whole pass settles what is known of the clip."""
        times: list[Fraction] = []
        origin = Fraction(0)
        for frame, at in steady(self._stamped(), 1 / self.info.rate):
            origin = origin if times else at
            times.append(at - origin)
            yield frame, times[-1]
        if not times:
            raise InputError(f"{self.info.path} has no frame that can be decoded; copy it again or convert it to MP4.")
        self._settle(times)

    def _stamped(self) -> Iterator[tuple[av.VideoFrame, Fraction | None]]:
        with probe.opened(self.info.path) as container:
            stream = probe.video_stream(container, self.info.path)
            # With a thread a frame, errors come later than their packets, by whose order AVI's frames are timed.
            stream.thread_type = "SLICE" if container.format.name == "avi" else "AUTO"
            stamps, started = probe.Stamps(container), False
            for packet in self._packets(container, stream):
                stamps.entered(packet)
                for frame in self._decoded(packet, stamps, started):
                    started = True
                    yield frame, stamps.of(frame)

    def _packets(self, container: InputContainer, stream: VideoStream) -> Iterator[av.Packet]:
        """Packets to the end, or to where reading breaks; the flushing packet comes last in either case.

        One that is marked as damaged is left out, but for transport streams that go on: there the mark only says that
        the count of the next one does not fit, as where recordings were joined.
        """
        joins, broadcast = joins_of(stream, container), container.format.name == "mpegts"
        doubtful: av.Packet | None = None
        try:
            for packet in container.demux(stream):
                if probe.is_empty(packet):
                    continue
                if doubtful is not None and packet.size:
                    yield doubtful
                self._damaged = self._damaged or (doubtful is not None and not packet.size)
                doubtful = packet if packet.is_corrupt and broadcast else None
                packet = joins.moved(packet)
                if not packet.is_corrupt:
                    yield packet
                self._damaged = self._damaged or (packet.is_corrupt and not broadcast)
        except (av.error.FFmpegError, OSError):
            self._damaged = True
            end = av.Packet()
            end.stream = stream
            yield end

    def _decoded(self, packet: av.Packet, stamps: probe.Stamps, started: bool) -> list[av.VideoFrame]:
        try:
            return packet.decode()  # type: ignore[return-value]  # a packet of a video stream gives video frames
        except (av.error.FFmpegError, OSError):
            stamps.failed()
            # a recording may begin between key frames: what comes before the first frame is not damage
            self._damaged = self._damaged or (packet.size > 0 and started)
            return []

    def _fitted(self, frame: av.VideoFrame, to_rgb: ToRGB) -> np.ndarray:
        """The stored picture in the clip's size: one of another shape, later in the file, gets bars."""
        width, height = self._stored_size
        own = max(1, round(frame.width * self._aspect)), frame.height
        if own == (width, height):
            return to_rgb(frame, width, height)
        self._warn(
            f"{self.info.path} changes its picture's size from {self.info.width} x {self.info.height} on the way: "
            "what follows is fitted into that size, with black bars where the shape differs."
        )
        scale = min(Fraction(width, own[0]), Fraction(height, own[1]))
        inner = max(1, round(own[0] * scale)), max(1, round(own[1] * scale))
        canvas = np.zeros((height, width, 3), np.uint8)
        x, y = (width - inner[0]) // 2, (height - inner[1]) // 2
        canvas[y : y + inner[1], x : x + inner[0]] = to_rgb(frame, *inner)
        return canvas

    def _settle(self, times: list[Fraction]) -> None:
        """After a whole pass the times are known; say so if the container had promised more frames."""
        done, promised, timing = len(times), self._timing.frames, self._timing
        if self._damaged or timing.cut:
            if done < promised:
                missing = f"{promised - done} of {promised} frames are missing."
                self._warn(f"{self.info.path} is damaged or cut off: {missing}")
            elif timing.cut:
                self._warn(f"{self.info.path} is cut off: it ends before the length that it states.")
            elif not timing.counted:
                self._warn(f"{self.info.path} is damaged or cut off: some of its frames could not be read.")
        elif timing.late and done < promised:
            self._warn(
                f"{self.info.path} begins between two key frames: its first {min(timing.late, promised - done)} "
                "frames cannot be decoded, so it begins with the one after them."
            )
        variable = is_uneven(times, self.info.rate, self.tick)
        duration = lasting(times, 1 / self.info.rate) if variable else done / self.info.rate
        self._times = times
        self.info = replace(self.info, frames=done, duration=duration, variable_rate=variable)


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
