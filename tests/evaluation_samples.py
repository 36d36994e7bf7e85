"""A small benchmark of drawn faces, for the tests of evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mien.evaluation.benchmark import Benchmark, Medium, Pair, self_pair, write_benchmark
from mien.media import write_image, write_video
from samples import draw_face

SIDE = 64


def faces(count: int, shift: float = 0.0, mouth: float = 0.0) -> list[np.ndarray]:
    """A drawn face that goes to and fro and opens its mouth."""
    places = [0.42 + shift + 0.06 * float(np.sin(1.3 * i)) for i in range(count)]
    return [draw_face(SIDE, SIDE, (x, 0.5), mouth=mouth + 0.1 * (i % 4)) for i, x in enumerate(places)]


def make_benchmark(folder: Path, count: int = 4) -> Path:
    """A self pair, a cross pair with ground truth, one without, and a disentangled one."""
    folder.mkdir(parents=True, exist_ok=True)
    write_image(folder / "portrait.png", draw_face(SIDE, SIDE, radius=0.3))
    for name, shift, mouth in (("a", 0.0, 0.1), ("b", 0.05, 0.5), ("ground_truth", 0.02, 0.1)):
        for index, frame in enumerate(faces(count, shift, mouth)):
            write_image(folder / name / f"{index}.png", frame)
    write_video(folder / "long.mp4", faces(12), 25)
    portrait, a, b = Medium(folder / "portrait.png"), Medium(folder / "a"), Medium(folder / "b")
    pairs = (
        self_pair("self-a", a),
        Pair("cross-a", "cross", portrait, a, ground_truth=Medium(folder / "ground_truth")),
        Pair("cross-b", "cross", portrait, b),
        Pair("apart-ab", "disentangled", portrait, a, b),
    )
    return write_benchmark(folder / "bench.json", Benchmark("drawn", SIDE, pairs))
