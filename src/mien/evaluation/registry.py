"""Every metric there is: what it measures, where it comes from, its range, direction, unit, and what it needs.

A metric whose network is not at hand is missing; nothing else is measured in its place. Networks that measure the same
thing differently (three face embeddings, two judges of quality) are metrics of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mien.errors import InputError

Direction = Literal["higher", "lower", "one"]
Level = Literal["frame", "clip", "set"]
Reference = Literal["ground_truth", "driver", "source", "none"]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        key: its name in files and on the command line.
        label: its name in tables.
        meaning: in a line.
        source: where it comes from.
        direction: which way is better; "one": the nearer to 1.
        range: of possible values, None where there is no bound.
        unit: "" for a plain number.
        level: "frame" is measured frame by frame and averaged over the clip, "clip" on a clip as a whole, "set" on all
            clips of a protocol together.
        against: what the result is compared with ("driver": of whom pose or expression come).
        needs: names of `mien.evaluation.weights.NEEDS`.
        digits: to print.
    """

    key: str
    label: str
    meaning: str
    source: str
    direction: Direction
    range: tuple[float | None, float | None]
    unit: str
    level: Level
    against: Reference
    needs: tuple[str, ...] = ()
    digits: int = 3


_X = "X-Portrait (Xie et al. 2024), Section 4.2"
_DEX = "DeX-Portrait (Shi et al. 2026), Table 1"
_LPIPS = "LPIPS (Zhang et al. 2018), version 0.1, AlexNet"
_ARC = f"cosine of face embeddings; {_X}, and CSIM of {_DEX}"

# fmt: off
_ALL = (
    Metric(
        "l1", "L1", "mean absolute difference of pixels in [0, 1]", _X, "lower", (0, 1), "", "frame", "ground_truth",
        ("torchmetrics",)
    ),
    Metric(
        "psnr", "PSNR", "peak signal to noise ratio; 100 for equal pictures", _DEX, "higher", (0, 100), "dB", "frame",
        "ground_truth", ("torchmetrics",), 2
    ),
    Metric(
        "ssim", "SSIM", "structural similarity, 11 pixel Gaussian window, on RGB", "Wang et al. 2004; " + _X,
        "higher", (-1, 1), "", "frame", "ground_truth", ("torchmetrics",)
    ),
    Metric(
        "lpips", "LPIPS", "distance of deep features", _LPIPS, "lower", (0, None), "", "frame", "ground_truth",
        ("torchmetrics", "alexnet")
    ),
    Metric(
        "eyes_lpips", "LPIPS eyes", "LPIPS of the two eye patches (a quarter of the side each)",
        "patches of X-Portrait, Section 3.3; " + _LPIPS, "lower", (0, None), "", "frame", "ground_truth",
        ("torchmetrics", "alexnet")
    ),
    Metric(
        "mouth_lpips", "LPIPS mouth", "LPIPS of the mouth patch (a quarter of the side)",
        "patches of X-Portrait, Section 3.3; " + _LPIPS, "lower", (0, None), "", "frame", "ground_truth",
        ("torchmetrics", "alexnet")
    ),
    Metric(
        "eyes_l1", "L1 eyes", "L1 of the two eye patches", "patches and L1 of X-Portrait, Section 3.3", "lower",
        (0, 1), "", "frame", "ground_truth", ()
    ),
    Metric(
        "mouth_l1", "L1 mouth", "L1 of the mouth patch", "patches and L1 of X-Portrait, Section 3.3", "lower", (0, 1),
        "", "frame", "ground_truth", ()
    ),
    Metric(
        "tlp", "tLP", "|LPIPS of neighbouring frames, result - ground truth|",
        "TecoGAN (Chu et al. 2020), Section 5; " + _LPIPS, "lower", (0, None), "", "frame", "ground_truth",
        ("torchmetrics", "alexnet"), 4
    ),
    Metric(
        "fid", "FID", "Fréchet distance of Inception features of all frames; more frames give smaller values",
        "Heusel et al. 2017, its Inception of 2015; " + _X, "lower", (0, None), "", "set", "ground_truth",
        ("inception",), 2
    ),
    Metric(
        "fvd", "FVD", "Fréchet distance of I3D logits of 16-frame stretches",
        "Unterthiner et al. 2018, I3D of Kinetics-400", "lower", (0, None), "", "set", "ground_truth", ("i3d",), 1
    ),
    Metric(
        "identity_arcface", "ID ArcFace", "same person by ArcFace of InsightFace's buffalo_l, faces found by YuNet",
        _ARC, "higher", (-1, 1), "", "frame", "source", ("yunet", "arcface")
    ),
    Metric(
        "identity_sface", "ID SFace", "same person by SFace of OpenCV Zoo", _ARC, "higher", (-1, 1), "", "frame",
        "source", ("yunet", "sface")
    ),
    Metric(
        "identity_retail", "ID retail-0095",
        "same person by face-reidentification-retail-0095 (two photos 0.65 to 0.76, two people below 0.13)", _ARC,
        "higher", (-1, 1), "", "frame", "source", ("yunet", "retail")
    ),
    Metric(
        "hyperiqa", "HyperIQA", "image quality as people rate it, mean of 25 even squares of the picture at 512 x 384",
        "Su et al. 2020, weights of KonIQ-10k; " + _X, "higher", (0, 100), "", "frame", "none", ("hyperiqa",), 2
    ),
    Metric(
        "clip_iqa", "CLIP-IQA",
        "image quality by CLIP (good against bad photo), the alternative to HyperIQA, times 100",
        "Wang et al. 2023, by torchmetrics, CLIP ViT-L/14", "higher", (0, 100), "", "frame", "none",
        ("torchmetrics", "transformers", "clip"), 2
    ),
    Metric(
        "sharpness", "sharpness", "Laplacian variance of the face at 256 px, result over source",
        "Pech-Pacheco et al. 2000, on the landmarks' bounding box", "one", (0, None), "", "frame", "source",
        ()
    ),
    Metric(
        "aed", "AED", "expression: mean absolute difference of the 52 ARKit blendshapes",
        f"{_X} (there by ARKit); AED of {_DEX}", "lower", (0, 1), "", "frame", "driver", (), 4
    ),
    Metric(
        "blendshapes", "blendshapes", "AED against the ground truth instead of the driving video", _X, "lower", (0, 1),
        "", "frame", "ground_truth", (), 4
    ),
    Metric(
        "landmarks", "landmarks",
        "mean distance of the 68 landmarks, outer eye corners' distance of the ground truth = 100 %",
        "normalised mean error of iBUG 300-W (Sagonas et al. 2013)", "lower", (0, None), "%", "frame", "ground_truth",
        (), 2
    ),
    Metric(
        "apd", "APD", "pose: (rotation, radians + |translation|_1 + |log scale|) / 3",
        "our definition; the DeX-Portrait paper does not state its own", "lower", (0, None), "",
        "frame", "driver", ()
    ),
    Metric(
        "pose", "pose", "head pose: mean absolute difference of yaw, pitch and roll", f"{_X} (there by ARKit)",
        "lower", (0, 180), "degrees", "frame", "driver", (), 2
    ),
    Metric(
        "gaze", "gaze", "distance of gaze directions, in eyeLook blendshapes, mean of both eyes, open ones only",
        "blendshapes of ARKit, by MediaPipe, which gives no angle", "lower", (0, 2.83), "", "frame", "driver",
        ()
    ),
    Metric(
        "pose_correlation", "pose corr.",
        "Pearson correlation of yaw, pitch and roll with the driving video's, where those move", "our definition",
        "higher", (-1, 1), "", "clip", "driver", ()
    ),
    Metric(
        "expression_correlation", "expr. corr.",
        "Pearson correlation of the blendshapes with the driving video's, where those move", "our definition",
        "higher", (-1, 1), "", "clip", "driver", ()
    ),
    Metric(
        "motion", "motion", "how much head and face move, result over driving video: 0 is a still picture",
        "standard deviation over time of angles and blendshapes, averaged", "one", (0, None), "", "clip", "driver",
        ()
    ),
    Metric(
        "jitter", "jitter", "second differences of landmarks in face widths, result over driving video",
        "our definition, on 68 landmarks", "one", (0, None), "", "clip", "driver", ()
    ),
    Metric(
        "found", "found", "part of the frames in which a face is found", "our definition", "higher", (0, 1),
        "", "frame", "none", ()
    ),
)
# fmt: on

METRICS: dict[str, Metric] = {metric.key: metric for metric in _ALL}
# Which embedding stands for "identity" in a table: the first of these that was measured, under its own name.
IDENTITY = ("identity_arcface", "identity_sface", "identity_retail")
QUALITY = ("hyperiqa", "clip_iqa")


def chosen_metrics(names: tuple[str, ...]) -> tuple[str, ...]:
    """The metrics of some names, in the registry's order; all for none given.

    Raises:
        InputError: for one that does not exist.
    """
    for name in names:
        if name not in METRICS:
            raise InputError(f"there is no metric {name!r}: choose from {', '.join(METRICS)}")
    return tuple(key for key in METRICS if not names or key in names)
