"""Pictures per second of the online dataset on one core: `python benchmarks/avatar_stream.py CAST.safetensors`.

Seconds of CPU, making people included, as in a long run; n workers make n times as many.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from mien.avatars.online import AvatarStream, StreamOptions
from mien.avatars.pack import load_pack


def main() -> None:
    """Print one line for each kind of sample."""
    cast = load_pack(Path(sys.argv[1]))
    for frames in (1, 8):
        samples = iter(AvatarStream(cast, 0, StreamOptions(frames=frames)))
        next(samples)  # compiles, and makes the first people
        count = 48 // frames
        start = time.process_time()
        for _ in range(count):
            next(samples)
        rendered = count * (1 + 2 * frames)
        print(f"{frames} target frames a sample, 256 px: {rendered / (time.process_time() - start):.0f} pictures/s")


if __name__ == "__main__":
    main()
