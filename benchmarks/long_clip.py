"""Memory of `animate` along a long driver: resident memory at several points, and what an hour would add.

    python benchmarks/long_clip.py [--frames 4000]

One process writes a video from a driver of that many frames through the same job as `mien animate`, with a tiny random
model and a reader that always sees a face. Memory is noted ten times while the frames come out; the line through the
second half of these points says what an hour (90,000 frames) of them adds. What is kept of every frame before the
first one comes out, the readings and the driven keypoints, is counted apart. Exits with 1 if the two together add more
than 512 MiB an hour.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

HOUR = 90_000  # frames at 25 a second
LIMIT = 512.0  # MiB


def resident() -> float:
    """Resident memory of this process now, MiB."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096 / 2**20


class Watch:
    """A `Progress` that notes memory ten times while frames are made."""

    def __init__(self) -> None:
        self.points: list[tuple[float, float]] = []
        self.started: list[tuple[str, float]] = []

    def stage(self, title: str, total: float | None) -> None:
        self.started.append((title, resident()))

    def update(self, done: float) -> None:
        if self.started[-1][0] == "Animating" and done >= (len(self.points) + 1) / 10:
            self.points.append((done, resident()))

    def note(self, text: str) -> None:
        print(text)


def streamed(frames: int) -> float:
    """Animate; prints the points. Returns MiB an hour, by the second half of them."""
    from memory import moving_frames

    from mien import AnimateOptions, animate
    from mien.media import write_image, write_video
    from samples import DrawnFaceReader, draw_face
    from tiny import TINY, tiny_pipeline

    pipe, watch = tiny_pipeline(config=replace(TINY, image_size=32)), Watch()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        driver = write_video(folder / "driver.mp4", moving_frames(frames), 25)
        portrait = write_image(folder / "portrait.png", draw_face(96, 96))
        options = AnimateOptions((portrait,), driver, folder / "out.mp4", steps=1, guidance=1.0)
        animate(options, watch, pipe=pipe, reader=DrawnFaceReader())
    for title, memory in watch.started:
        print(f"{memory:8.1f} MiB  {title} begins")
    for done, memory in watch.points:
        print(f"{memory:8.1f} MiB  {done:.0%} of {frames} frames")
    late = np.array(watch.points[len(watch.points) // 2 :])
    return float(np.polyfit(late[:, 0] * frames, late[:, 1], 1)[0]) * HOUR


def kept(frames: int = 2000) -> float:
    """MiB an hour of what is kept of each frame for the second pass: readings, motions and driven keypoints."""
    from mien.animation.driven_face import driven_faces
    from mien.animation.driving import DriverTrack
    from mien.animation.motion_transfer import TransferSettings
    from mien.animation.source import find_portrait
    from mien.faces import TrackedFace, TrackReport
    from mien.pipelines.x_portrait import XPortraitPipeline
    from samples import DrawnFaceReader, draw_face

    reader, picture = DrawnFaceReader(), draw_face(96, 96)
    portrait = find_portrait(Path("portrait.png"), picture, reader, None)
    basis = XPortraitPipeline.from_pretrained("nano").face_basis
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    faces = [TrackedFace(index, reader.read(picture), "found") for index in range(frames)]
    read = tracemalloc.get_traced_memory()[0]
    track = DriverTrack(faces, TrackReport(frames, frames), 0, portrait.crop, np.eye(2, 3), portrait.landmarks, None)
    driven = driven_faces(portrait, track, basis, TransferSettings())
    end, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    each = [value / frames for value in (read - before, end - read, peak - read)]
    print(f"{each[0]:8.0f} bytes a frame of readings, {each[1]:.0f} of driven keypoints, {each[2]:.0f} at most")
    assert len(driven) == frames
    print(f"{each[2] * HOUR / 2**20:8.1f} MiB an hour for a moment, while the keypoints are made")
    return (end - before) / frames * HOUR / 2**20


def main() -> int:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=4000)
    frames = parser.parse_args().frames
    first, growth = kept(), streamed(frames)
    print(f"{first:8.1f} MiB an hour kept from the first pass, {growth:.1f} MiB an hour while frames come out")
    return int(first + max(0.0, growth) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
