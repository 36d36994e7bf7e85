"""Peak memory of `animate` for a short and a long driver: it must not grow with the clip.

    python benchmarks/memory.py [--short 300] [--long 3000]

Each run is a process of its own that writes a video, sound and all, through the same job as `mien animate`, with a
tiny random model and a reader that always sees a face. Prints the peak resident memory of both and their ratio; exits
with 1 if the ratio is above 1.15.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SIZE = 256
LIMIT = 1.15


def moving_frames(count: int) -> Iterator[np.ndarray]:
    """Frames that a codec cannot guess: a disc that wanders over noise."""
    sys.path.insert(0, str(ROOT / "tests"))
    from samples import draw_face

    noise = np.random.default_rng(0).integers(0, 40, (SIZE, SIZE, 3), np.uint8)
    for index in range(count):
        place = (0.5 + 0.1 * np.sin(index / 9), 0.5 + 0.1 * np.cos(index / 7))
        yield draw_face(SIZE, SIZE, place, mouth=abs(np.sin(index / 5))) // 2 + np.roll(noise, index, 0)


def one_run(folder: Path, count: int) -> None:
    """Animate by a driver of `count` frames; prints the peak memory of this process in MiB."""
    sys.path.insert(0, str(ROOT / "tests"))
    from mien import AnimateOptions, animate
    from mien.media import write_image, write_video
    from samples import DrawnFaceReader, draw_face, write_tone
    from tiny import TINY, tiny_pipeline

    tone = write_tone(folder / "tone.wav", count / 25)
    driver = write_video(folder / "driver.mp4", moving_frames(count), 25, audio_from=tone)
    portrait = write_image(folder / "portrait.png", draw_face(SIZE, SIZE))
    options = AnimateOptions((portrait,), driver, folder / "out.mp4", guidance=1.0, preview=True)
    report = animate(options, pipe=tiny_pipeline(config=replace(TINY, image_size=32)), reader=DrawnFaceReader())
    if report.frames != count:
        raise RuntimeError(f"{report.frames} frames for {count}")
    unit = 2**20 if sys.platform == "darwin" else 2**10  # kilobytes on Linux, bytes on macOS
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


def main() -> int:
    """Run both in processes of their own and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", type=int, default=300)
    parser.add_argument("--long", type=int, default=3000)
    parser.add_argument("--one", nargs=2, metavar=("FOLDER", "FRAMES"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one_run(Path(arguments.one[0]), int(arguments.one[1]))
        return 0
    peaks = []
    for count in (arguments.short, arguments.long):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--one", folder, str(count)]
            # One thread: pools of threads keep buffers of their own, whose number is not the clip's fault.
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
            done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        peaks.append(float(done.stdout.split()[-1]))
        print(f"{count:6} frames: peak {peaks[-1]:7.1f} MiB", flush=True)
    ratio = peaks[1] / peaks[0]
    print(f"ratio {ratio:.3f}, limit {LIMIT}")
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
