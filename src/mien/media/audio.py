"""The driver's sound beside a new picture: copied packet by packet where the container allows, else encoded anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import OutputContainer

from mien.media import probe
from mien.media.kind import kind_of

# What each container holds in a way that common players understand; everything else is encoded anew.
_COPIED = {
    "mp4": frozenset({"aac", "mp3", "ac3", "eac3", "alac", "flac", "opus"}),
    "mov": frozenset({"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be"}),
    "matroska": frozenset({"aac", "mp3", "ac3", "eac3", "flac", "opus", "vorbis", "dts", "pcm_s16le", "pcm_s24le"}),
    "webm": frozenset({"opus", "vorbis"}),
}
_ENCODER = {"mp4": "aac", "mov": "aac", "matroska": "aac", "webm": "libopus"}
_AAC_RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000})
# MP4 hides what comes before time 0 with an edit list, and decoders need a little run-in there (AAC: 1024 samples).
# Matroska would instead move the whole picture to a later time.
_RUN_IN = {"mp4": Fraction(8, 100), "mov": Fraction(8, 100)}


class Sound:
    """Feeds the sound of one file into an output container, as far as the picture has come, so memory stays flat.

    Create it before the container's header is written. `present` is False if the file has no sound.
    """

    def __init__(self, source: Path, output: OutputContainer, muxer: str) -> None:
        """`muxer`: "mp4", "mov", "matroska" or "webm". Raises InputError if `source` is missing or unreadable."""
        self.warnings: list[str] = []
        self.present = False
        self._source, self._output, self._muxer = source, output, muxer
        self._open = ExitStack()
        self._waiting: av.Packet | None = None
        self._last_dts: int | None = None
        self._shift = Fraction(0)
        if source.is_dir() or kind_of(source) in ("image", "animation") or muxer not in _ENCODER:
            return
        container = self._open.enter_context(probe.opened(source))
        stream = probe.sound_stream(container)
        if stream is None:
            self.close()
            return
        self.present = True
        self._container, self._stream = container, stream
        self._copied = stream.codec_context.codec.canonical_name in _COPIED[muxer]
        self._target = self._copy_stream() if self._copied else self._encoded_stream()
        self._packets = self._read()

    def begin(self, start: Fraction) -> None:
        """Let the first written frame be the one at `start` seconds on the clock of the source's `Clip.timed()`."""
        if self.present:
            pictures = probe.moving_streams(self._container)
            started = pictures[0].start_time if pictures else None
            self._shift = start + (started * (pictures[0].time_base or 0) if started is not None else 0)

    def feed(self, end: Fraction) -> None:
        """Write the sound that starts before `end` seconds of the output."""
        if not self.present:
            return
        while True:
            packet = self._waiting or next(self._packets, None)
            self._waiting = None
            if packet is None:
                return
            if (packet.pts or 0) * (packet.time_base or 0) >= end:
                self._waiting = packet
                return
            self._output.mux(packet)

    def close(self) -> None:
        """Close the source file."""
        self._open.close()

    def _copy_stream(self) -> Any:
        return self._output.add_stream_from_template(self._stream)

    def _encoded_stream(self) -> Any:
        context = self._stream.codec_context
        opus = _ENCODER[self._muxer] == "libopus"
        rate = 48000 if opus or context.sample_rate not in _AAC_RATES else context.sample_rate
        stream: Any = self._output.add_stream(_ENCODER[self._muxer], rate=rate)
        stream.codec_context.layout = "mono" if context.channels == 1 else "stereo"
        stream.codec_context.bit_rate = (64_000 if opus else 96_000) * (1 if context.channels == 1 else 2)
        return stream

    def _read(self) -> Iterator[av.Packet]:
        """Packets for the output, shifted to its clock, in order, without those that end before it starts."""
        packets = self._copied_packets() if self._copied else self._encoded_packets()
        for packet in packets:
            dts = packet.dts if packet.dts is not None else packet.pts
            if dts is None or (self._last_dts is not None and dts <= self._last_dts):
                continue  # a muxer refuses packets that go back in time
            packet.dts = self._last_dts = dts
            packet.pts = packet.pts if packet.pts is not None else dts
            packet.stream = self._target
            yield packet

    def _source_packets(self) -> Iterator[av.Packet]:
        try:
            yield from self._container.demux(self._stream)
        except (av.error.FFmpegError, OSError):
            self.warnings.append(f"The sound of {self._source} is damaged or cut off; the rest of it is left out.")

    def _copied_packets(self) -> Iterator[av.Packet]:
        run_in = _RUN_IN.get(self._muxer)
        for packet in self._source_packets():
            if packet.size == 0 or packet.is_corrupt or packet.time_base is None:
                continue
            shift = round(self._shift / packet.time_base)
            start = packet.pts if packet.pts is not None else packet.dts
            if start is None:
                continue
            early = -(start - shift) * packet.time_base  # seconds before the output starts
            length = (packet.duration or 0) * packet.time_base
            if (early > 0) if run_in is None else (early - length > run_in):
                continue
            packet.pts = start - shift
            packet.dts = packet.dts - shift if packet.dts is not None else None
            yield packet

    def _encoded_packets(self) -> Iterator[av.Packet]:
        for packet in self._source_packets():
            try:
                frames: list[Any] = packet.decode()
            except (av.error.FFmpegError, OSError):
                continue
            for frame in frames:
                if frame.pts is None or not frame.time_base:
                    continue
                early = self._shift - frame.pts * frame.time_base  # seconds before the output starts
                skipped = max(0, round(early * frame.sample_rate))
                if skipped >= frame.samples:
                    continue
                pts = 0 if skipped else frame.pts - round(self._shift / frame.time_base)
                frame = _without_start(frame, skipped)
                frame.pts = pts
                yield from self._target.encode(frame)
        yield from self._target.encode(None)


def _without_start(frame: Any, samples: int) -> Any:
    """An audio frame less its first samples."""
    if samples == 0:
        return frame
    values = frame.to_ndarray()  # [channels, samples], or [1, samples * channels] where channels alternate
    each = 1 if frame.format.is_planar else len(frame.layout.channels)
    rest = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(values[:, samples * each :]), format=frame.format.name, layout=frame.layout.name
    )
    rest.sample_rate, rest.time_base = frame.sample_rate, frame.time_base
    return rest
