"""A driving video's sound with a new picture: copied packet by packet where the container allows, or encoded anew."""

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
from mien.media.sound_scan import scan_sound

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

_HOLE = Fraction(2, 100)  # seconds by which sound may lie off its stamps, which many containers round


class Sound:
    """Feeds the sound of one file into an output container, as far as the picture has come, so memory stays flat.

    Create it before the container's header is written. `present` is False if the file has no sound.
    """

    def __init__(self, source: Path, output: OutputContainer, muxer: str) -> None:
        """Make the output's stream of sound.

        Args:
            source: the file with the sound.
            output: the container to be written.
            muxer: "mp4", "mov", "matroska" or "webm".

        Raises:
            InputError: if `source` is missing or unreadable.
        """
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
        self._container, self._stream, self._scan = container, stream, scan_sound(source)
        self._copied = self._scan.one_format and stream.codec_context.codec.canonical_name in _COPIED[muxer]
        self._target = self._copy_stream() if self._copied else self._encoded_stream()
        self._packets = self._read()

    def begin(self, start: Fraction) -> None:
        """Say where the picture begins.

        Args:
            start: seconds on the clock of the source's `Clip.timed()` at which the first written frame lies.
        """
        if self.present:
            self._shift = start + self._scan.origin

    def feed(self, end: Fraction) -> None:
        """Write the sound up to a moment.

        Args:
            end: seconds of the output; sound that starts before is written.
        """
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
        mono = self._scan.channels == 1
        stream.codec_context.layout = "mono" if mono else "stereo"
        stream.codec_context.bit_rate = (64_000 if opus else 96_000) * (1 if mono else 2)
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

    def _source_packets(self) -> Iterator[tuple[av.Packet, Fraction]]:
        """Packets, the flushing one included, and the seconds to be taken off their stamps."""
        shifts = iter(self._scan.shifts)
        shift = Fraction(0)
        try:
            for packet in self._container.demux(self._stream):
                if packet.size and packet.time_base is not None:
                    shift = next(shifts, shift)
                yield packet, self._shift - shift
        except (av.error.FFmpegError, OSError):
            self.warnings.append(f"The sound of {self._source} is damaged or cut off; the rest of it is left out.")

    def _copied_packets(self) -> Iterator[av.Packet]:
        run_in = _RUN_IN.get(self._muxer)
        filler = _Filler(self._stream.codec_context) if self._muxer == "mov" else None
        end: Fraction | None = None
        for packet, offset in self._source_packets():
            start = packet.pts if packet.pts is not None else packet.dts
            if packet.size == 0 or packet.is_corrupt or packet.time_base is None or start is None:
                continue
            shift = round(offset / packet.time_base)
            at = (start - shift) * packet.time_base  # seconds of the output
            length = (packet.duration or 0) * packet.time_base
            if (at < 0) if run_in is None else (at + length < -run_in):
                continue
            if end is not None and end - at > length / 2 > 0:
                continue  # two recordings overlap where they were joined
            if filler is not None and end is not None:
                yield from filler.until(at, end, packet.time_base)
            end = at + length
            packet.pts = start - shift
            packet.dts = packet.dts - shift if packet.dts is not None else None
            yield packet

    def _encoded_packets(self) -> Iterator[av.Packet]:
        track = _Track(self._target.codec_context)
        for packet, offset in self._source_packets():
            try:
                frames: list[Any] = packet.decode()
            except (av.error.FFmpegError, OSError):
                continue
            for frame in frames:
                at = None if frame.pts is None or not frame.time_base else frame.pts * frame.time_base - offset
                for block in track.placed(frame, at):
                    yield from self._target.encode(block)
        yield from self._target.encode(None)


class _Filler:
    """Silence for the holes of uncompressed sound: MOV has no place for the times of its samples."""

    def __init__(self, context: Any) -> None:
        self._rate = context.sample_rate
        signed = context.codec.canonical_name in ("pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be")
        self._bytes = context.channels * (3 if "24" in context.codec.canonical_name else 2) if signed else 0

    def until(self, at: Fraction, end: Fraction, step: Fraction) -> Iterator[av.Packet]:
        """A packet from `end` up to `at`, in seconds, with stamps in ticks of `step`, if that is a hole."""
        if not self._bytes or at - end < _HOLE:
            return
        while end < at:
            length = min(at - end, Fraction(1))
            packet = av.Packet(bytes(self._bytes * round(length * self._rate)))
            packet.time_base = step
            packet.pts = packet.dts = round(end / step)
            packet.duration = round(length / step)
            yield packet
            end += length


class _Track:
    """Sound of any format laid sample by sample on the output's clock, from 0 on: silence in holes, overlaps cut."""

    def __init__(self, context: Any) -> None:
        self._rate, self._layout = context.sample_rate, context.layout.name
        self._channels = len(context.layout.channels)
        self._resampler: Any = None
        self._format: tuple[Any, ...] = ()
        self._position = 0  # samples given
        self._begun = False

    def placed(self, frame: Any, at: Fraction | None) -> Iterator[Any]:
        """Frames for the encoder from one that begins at `at` seconds; None: right after the one before."""
        found = (frame.format.name, frame.layout.name, frame.sample_rate)
        if found != self._format:
            self._resampler = av.AudioResampler(format="fltp", layout=self._layout, rate=self._rate)
            self._format = found
        frame.pts = None
        pieces = [piece.to_ndarray() for piece in self._resampler.resample(frame)]
        if not pieces:
            return
        samples = np.concatenate(pieces, axis=1)
        hole = 0 if at is None else round(at * self._rate) - self._position
        if not self._begun or abs(hole) > _HOLE * self._rate:
            if hole < 0:
                samples = samples[:, -hole:]
            for length in _lengths(max(0, hole), self._rate):
                yield self._block(np.zeros((self._channels, length), np.float32))
        self._begun = self._begun or samples.shape[1] > 0
        if samples.shape[1]:
            yield self._block(samples)

    def _block(self, samples: np.ndarray) -> Any:
        block = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=self._layout)
        block.sample_rate, block.time_base, block.pts = self._rate, Fraction(1, self._rate), self._position
        self._position += samples.shape[1]
        return block


def _lengths(total: int, most: int) -> Iterator[int]:
    """Pieces of at most `most` that add up to `total`."""
    while total > 0:
        yield min(total, most)
        total -= most
