"""What PyPI's invisible watermarks do on our frames: the last table of docs/responsible-use.md.

pip install --no-deps --target FOLDER clawid invisible-watermark blind-watermark PyWavelets
PYTHONPATH=FOLDER python benchmarks/watermark_others.py

Each carries 32 bits; shown is the share of them that is read right, 0.5 by chance, and of ours the frames where it is
found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
from PIL import Image
from watermark import DRIVER, coded, resized

from mien.media import open_clip
from mien.media.watermark import marked, read_mark

FRAMES, READ = 8, 3
BITS = np.random.default_rng(0).integers(0, 2, 32)
Method = tuple[str, Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], float]]


def right(read: object) -> float:
    return float(np.mean(np.asarray(read, int) == BITS))


def ours() -> Iterator[Method]:
    yield "ours", marked, lambda frame: float(read_mark([frame])[0])


def clawid(side: int) -> Iterator[Method]:
    from clawid.algorithms.dwt_qim import embed_bits, extract_bits

    bits, repeat = [int(bit) for bit in BITS], (side // 5) ** 2 // 32  # as many as fit after scaling by 0.8
    for step in (32.0, 192.0):
        yield (
            f"clawid, step {step:.0f}",
            lambda frame, step=step: np.asarray(embed_bits(Image.fromarray(frame), bits, step, repeat)),
            lambda frame, step=step: right(extract_bits(Image.fromarray(frame), 32, step, repeat)),
        )


def invisible_watermark() -> Iterator[Method]:
    from imwatermark import WatermarkDecoder, WatermarkEncoder

    encoder, decoder = WatermarkEncoder(), WatermarkDecoder("bits", 32)
    encoder.set_watermark("bits", BITS.tolist())
    for way in ("dwtDct", "dwtDctSvd"):
        yield (
            f"invisible-watermark, {way}",
            lambda frame, way=way: encoder.encode(np.ascontiguousarray(frame[..., ::-1]), way)[..., ::-1],
            lambda frame, way=way: right(decoder.decode(np.ascontiguousarray(frame[..., ::-1]), way)),
        )


def blind_watermark() -> Iterator[Method]:
    from blind_watermark import WaterMark, bw_notes

    bw_notes.close()

    def embed(frame: np.ndarray) -> np.ndarray:
        mark = WaterMark()
        mark.read_img(img=np.ascontiguousarray(frame[..., ::-1]))
        mark.read_wm(BITS.astype(bool), mode="bit")
        return np.rint(mark.embed()[..., ::-1]).astype(np.uint8)

    def read(frame: np.ndarray) -> float:
        return right(WaterMark().extract(embed_img=np.ascontiguousarray(frame[..., ::-1]), wm_shape=32, mode="bit"))

    yield "blind-watermark", embed, read


def shown(read: Callable[[np.ndarray], float], frames: list[np.ndarray]) -> str:
    try:
        return f"{np.mean([read(frame) for frame in frames[:READ]]):.2f}"
    except RuntimeError as error:
        return str(error)


def measure(method: Method, frames: list[np.ndarray]) -> None:
    name, embed, read = method
    side = len(frames[0])
    began = time.process_time()
    signed = [np.ascontiguousarray(embed(frame)) for frame in frames]
    spent = (time.process_time() - began) / len(frames) * 1e3
    added = [after.astype(float) - before for before, after in zip(frames, signed, strict=True)]
    flicker = np.mean([np.abs(b - a).mean() for a, b in zip(added, added[1:], strict=False)])
    print(f"{side} {name}: {10 * np.log10(255**2 / np.mean(np.square(added))):.1f} dB, {spent:.1f} ms, {flicker:.2f}")
    at_18, at_23 = (coded(signed, "mp4", quality, watermark=False) for quality in (18, 23))
    smaller = [resized(frame, side * 4 // 5, side * 4 // 5) for frame in at_18]
    cut = [frame[side // 20 :, side // 20 :] for frame in at_18]
    for case, some in (("CRF 18", at_18), ("CRF 23", at_23), ("0.8 of the size", smaller), ("5 % cut off", cut)):
        print(f"    {case}: {shown(read, some)}")


if __name__ == "__main__":
    for size in (256, 512):
        clip = [resized(frame, size, size) for frame in islice(open_clip(DRIVER), FRAMES)]
        for methods in (ours(), clawid(size), invisible_watermark(), blind_watermark()):
            for one in methods:
                measure(one, clip)
