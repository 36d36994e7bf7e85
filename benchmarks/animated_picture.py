"""The animated picture at the top of README.md: driving video, portrait and result beside each other, WebP or GIF.

    python benchmarks/animated_picture.py [-s PORTRAIT -d DRIVER] [-o docs/pictures/front.webp] [--model nano]

Without files it shows the demo's. A preview that is there already is taken with --preview FILE.
It is made smaller, first in quality, then in width and in rate, until it has at most --megabytes.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]
WIDTHS, QUALITIES, THINNED = (960, 800, 640, 480), (80, 65, 50), (1, 2, 3)
FASTEST = 50  # pictures a second: browsers slow faster GIFs down


def made_preview(folder: Path, portrait: Path, driver: Path, model: str) -> Path:
    """What `mien animate --preview` makes of two files."""
    from benchmarks.pictures import mien

    words = ("animate", "-s", str(portrait.resolve()), "-d", str(driver.resolve()), "-o", "out.mp4", "--preview")
    mien(folder, *words, "--model", model)
    return folder / "out.preview.mp4"


def encoded(frames: Sequence[np.ndarray], rate: Fraction, kind: str, width: int, quality: int) -> bytes:
    """An endless animation.

    Args:
        frames: uint8 [h, w, 3].
        rate: pictures a second.
        kind: webp or gif.
        width: in pixels.
        quality: of WebP, 0 to 100; of GIF, by the number of colours.
    """
    height = round(frames[0].shape[0] * width / frames[0].shape[1])
    pictures = [Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS) for frame in frames]
    # whole milliseconds (GIF: hundredths); each picture ends where the next begins, so that rounding loses no time
    unit = 1 if kind == "webp" else 10
    ends = [round(index * 1000 / rate / unit) * unit for index in range(len(pictures) + 1)]
    times = [max(unit, after - before) for before, after in zip(ends, ends[1:], strict=False)]
    how: dict[str, object] = {"quality": quality, "method": 4}
    if kind == "gif":
        colours = 64 + quality * 2
        pictures = [picture.quantize(min(256, colours), dither=Image.Dither.FLOYDSTEINBERG) for picture in pictures]
        how = {"disposal": 1, "optimize": False}
    out = io.BytesIO()
    first, *rest = pictures
    first.save(out, kind.upper(), save_all=True, append_images=rest, duration=times, loop=0, **how)
    return out.getvalue()


def smaller(rate: Fraction) -> Iterator[tuple[int, int, int]]:
    """Take every n-th frame, width, quality: the best first."""
    least = next(step for step in (1, 2, 3) if rate / step <= FASTEST or step == 3)
    for step in range(least, least + len(THINNED)):
        for width in WIDTHS:
            for quality in QUALITIES:
                yield step, width, quality


def fitted(frames: Sequence[np.ndarray], rate: Fraction, kind: str, most: int) -> tuple[bytes, str]:
    """The best animation of at most that many bytes, and what it is. SystemExit if none is small enough."""
    last = None
    for step, width, quality in smaller(rate):
        # what is three times too large is no matter of quality
        if last is not None and last[0] == (step, width) and last[1] > 3 * most:
            continue
        if width > frames[0].shape[1] and width != min(WIDTHS):
            continue
        data = encoded(frames[::step], rate / step, kind, width, quality)
        if len(data) <= most:
            return data, f"{width} pixels wide, {float(rate / step):.4g} a second, quality {quality}"
        last = ((step, width), len(data))
    raise SystemExit(f"{len(frames)} frames do not fit into {most / 1e6:g} MB: give a shorter driving video.")


def main(words: Sequence[str] | None = None) -> None:
    """Make the picture."""
    from mien.jobs.demo import FOLDER
    from mien.media import open_clip

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-s", "--source", type=Path, default=FOLDER / "portrait_1.png")
    parser.add_argument("-d", "--driving", type=Path, default=FOLDER / "driver.mp4")
    parser.add_argument("--model", default="nano")
    parser.add_argument("--preview", type=Path, help="a preview of mien animate, in place of a run")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "pictures" / "front.webp")
    parser.add_argument("--megabytes", type=float, default=3.0)
    given = parser.parse_args(words)
    kind = given.output.suffix.lstrip(".").lower()
    if kind not in ("webp", "gif"):
        raise SystemExit(f"{given.output}: name it .webp or .gif.")
    with tempfile.TemporaryDirectory() as folder:
        preview = given.preview or made_preview(Path(folder), given.source, given.driving, given.model)
        clip = open_clip(preview)
        data, told = fitted(list(clip), clip.info.rate, kind, int(given.megabytes * 1e6))
    given.output.write_bytes(data)
    print(f"{given.output}: {len(data) / 1e6:.2f} MB, {told}")


if __name__ == "__main__":
    main()
