"""How clear the invisible mark stays: the figures of docs/responsible-use.md.

python benchmarks/watermark.py [FOLDER OF PHOTOGRAPHS]
"""

from __future__ import annotations

import sys
import tempfile
import time
from fractions import Fraction
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

import mien
from mien.media import VideoWriter, open_clip, read_image
from mien.media.watermark import marked, read_mark

DRIVER = Path(mien.__file__).parent / "demo" / "driver.mp4"
FRAMES = 24


def resized(frame: np.ndarray, width: int, height: int) -> np.ndarray:
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)


def coded(frames: list[np.ndarray], suffix: str, quality: int = 17, watermark: bool = True) -> list[np.ndarray]:
    height, width = frames[0].shape[:2]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{suffix}"
        with VideoWriter(path, rate=Fraction(25), size=(width, height), quality=quality, watermark=watermark) as writer:
            for frame in frames:
                writer.write(frame)
        return list(open_clip(path))


def videos(side: int) -> None:
    frames = [resized(frame, side, side) for frame in islice(open_clip(DRIVER), FRAMES)]
    began = time.process_time()
    signed = [marked(frame) for frame in frames]
    spent = (time.process_time() - began) / FRAMES * 1e3
    error = np.mean([((a.astype(float) - b) ** 2).mean() for a, b in zip(frames, signed, strict=True)])
    print(f"{side} px: {10 * np.log10(255**2 / error):.1f} dB, {spent:.2f} ms a frame")
    for suffix, quality in (("mp4", 17), ("mp4", 23), ("mp4", 28), ("mp4", 35), ("webm", 17), ("gif", 17)):
        back = coded(frames, suffix, quality)
        one, every = (read_mark(some, cut=False)[1] for some in (back[:1], back))
        print(f"  {suffix} {quality}: one frame {one:.1f}, all {every:.1f}")
    back, edge = coded(frames, "mp4"), side // 20
    half = [resized(frame, side // 2, side // 2) for frame in back]
    cut = [frame[edge:-edge, edge // 2 : -2 * edge] for frame in back]
    print(f"  half the size {read_mark(half, cut=False)[1]:.1f}, edges cut off {read_mark(cut)[1]:.1f}")


def photographs(folder: Path) -> None:
    with_mark, without = [], []
    for path in sorted(folder.glob("*.jpg")):
        picture = read_image(path)
        zoom = 512 / max(picture.shape[:2])
        picture = resized(picture, round(picture.shape[1] * zoom), round(picture.shape[0] * zoom))
        _, file = cv2.imencode(".jpg", marked(picture)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
        with_mark.append(read_mark([cv2.imdecode(file, cv2.IMREAD_COLOR)[..., ::-1]], cut=False)[1])
        without.append(read_mark([picture], cut=False)[1])
    print(
        f"{len(without)} photographs: marked, JPEG 85: least {min(with_mark):.1f}, median {np.median(with_mark):.1f};"
    )
    print(f"  not marked: {min(without):.1f} to {max(without):.1f}, standard deviation {np.std(without):.2f}")


if __name__ == "__main__":
    for size in (256, 512):
        videos(size)
    if len(sys.argv) > 1:
        photographs(Path(sys.argv[1]))
