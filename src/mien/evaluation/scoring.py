"""Scoring one clip: every metric that applies to it and whose networks are at hand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.evaluation import motion, pixels
from mien.evaluation.footage import Footage, Frames
from mien.evaluation.identity import ArcFace, Embedder, Retail, SFace, YuNet, cosine
from mien.evaluation.registry import METRICS, chosen_metrics
from mien.evaluation.weights import Checksums, find_weights, missing, networks_used
from mien.faces import FaceReader, FaceReading

REVISION = 4  # raised when a metric is computed in another way, so that kept scores are measured anew
_PACKAGES = ("torchmetrics", "opencv-python-headless")
NO_GROUND_TRUTH = "no ground truth exists for this pair"
_GROUND_TRUTH_METRICS = {key for key, metric in METRICS.items() if metric.against == "ground_truth"}
Track = list[FaceReading | None]


@dataclass(frozen=True)
class ScoreOptions:
    """What to measure.

    Attributes:
        metrics: names, all for none.
        weights: folders in which networks are looked for.
        checksums: of files that are meant in place of the published ones.
    """

    metrics: tuple[str, ...] = ()
    weights: tuple[Path, ...] = ()
    checksums: Checksums = ()


@dataclass
class ClipScore:
    """What was measured on a clip.

    Attributes:
        values: one number a metric, None where it could not be read off this clip.
        frames: the same frame by frame.
        absent: why a metric has no number here.
        features: [n, d], for metrics over all clips.
    """

    values: dict[str, float | None] = field(default_factory=dict)
    frames: dict[str, list[float | None]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    features: dict[str, NDArray[np.float32]] = field(default_factory=dict)


def unavailable(options: ScoreOptions) -> dict[str, str]:
    """Metrics that cannot be measured on this machine, with the reason and the fix."""
    reasons: dict[str, str] = {}
    for key in chosen_metrics(options.metrics):
        needs = [missing(need, options.weights, options.checksums) for need in METRICS[key].needs]
        lacking = [why for why in needs if why is not None]
        if lacking:
            reasons[key] = "; ".join(lacking)
    return reasons


class Scorer:
    """Measures clips; networks are loaded when first needed and kept."""

    def __init__(self, options: ScoreOptions, reader: FaceReader | None = None) -> None:
        """reader: in place of the mesh reader, for tests."""
        self.options = options
        self._given = reader
        self.unavailable = unavailable(options)
        self.wanted = tuple(key for key in chosen_metrics(options.metrics) if key not in self.unavailable)

    @cached_property
    def digest(self) -> str:
        """Changes with whatever the numbers depend on: the metrics, their networks and libraries."""
        sha = hashlib.sha256(f"{REVISION} {self.wanted}".encode())
        for package in _PACKAGES:
            try:
                sha.update(f" {package} {version(package)}".encode())
            except PackageNotFoundError:
                continue
        for need, network in self.networks.items():
            sha.update(f" {need} {network['sha256']}".encode())
        return sha.hexdigest()

    @cached_property
    def networks(self) -> dict[str, dict[str, str]]:
        """The files that the metrics are measured with, see `networks_used`."""
        needs = [need for key in self.wanted for need in METRICS[key].needs]
        return networks_used(needs, self.options.weights, self.options.checksums)

    def close(self) -> None:
        """Free the reader."""
        if "reader" in self.__dict__ and self._given is None:
            self.reader.close()

    def score(self, footage: Footage, result: Frames) -> ClipScore:
        """Measure a clip.

        Args:
            footage: of the clip.
            result: uint8 [n, s, s, 3], as many frames as the case has.
        """
        if result.shape != footage.case.driver.shape:
            raise ValueError(f"the result is {result.shape}, but the case {footage.case.driver.shape}")
        score = ClipScore()
        keys = [key for key in self.wanted if footage.ground_truth is not None or key not in _GROUND_TRUTH_METRICS]
        score.absent = {key: NO_GROUND_TRUTH for key in self.wanted if key not in keys}
        scene = _Scene(self, footage, result[footage.first :])
        for group in (_score_pixels, _score_faces, _score_patches, _score_identity, _score_quality, _score_sets):
            group(self, scene, keys, score)
        return score

    @cached_property
    def reader(self) -> FaceReader:
        """MediaPipe's networks, whatever the systems read faces with."""
        from mien.faces.mesh_reader import MeshReader

        return self._given or MeshReader()

    @cached_property
    def lpips(self) -> Any:
        """The network."""
        from mien.evaluation.perceptual import load_lpips

        return load_lpips(self._file("alexnet"))

    @cached_property
    def inception(self) -> Any:
        """FID's features."""
        from mien.evaluation.inception import load_inception

        return load_inception(self._file("inception"))

    @cached_property
    def i3d(self) -> Any:
        """FVD's features."""
        from mien.evaluation.i3d import load_i3d

        return load_i3d(self._file("i3d"))

    @cached_property
    def judges(self) -> dict[str, Callable[[Any], list[float]]]:
        """Judges of quality by metric."""
        from mien.evaluation.hyperiqa import load_hyperiqa
        from mien.evaluation.quality import load_clip_iqa

        loaders: dict[str, Callable[[], Any]] = {
            "hyperiqa": lambda: load_hyperiqa(self._file("hyperiqa")).ratings,
            "clip_iqa": lambda: load_clip_iqa(self._file("clip")),
        }
        return {key: load() for key, load in loaders.items() if key in self.wanted}

    @cached_property
    def embedders(self) -> dict[str, Embedder]:
        """Face embeddings by metric."""
        found: dict[str, Embedder] = {}
        kinds: dict[str, Callable[[YuNet, Path], Embedder]] = {"arcface": ArcFace, "sface": SFace, "retail": Retail}
        for need, load in kinds.items():
            if f"identity_{need}" in self.wanted:
                found[f"identity_{need}"] = load(self._yunet, self._file(need))
        return found

    @cached_property
    def _yunet(self) -> YuNet:
        return YuNet(self._file("yunet"))

    def _file(self, need: str) -> Path:
        path = find_weights(need, self.options.weights)
        assert path is not None, need  # `unavailable` has asked
        return path

    def read(self, frames: Frames) -> Track:
        """The face of every frame, read for itself."""
        return [self.reader.read(frame) for frame in frames]


class _Scene:
    """A clip under the metrics: the frames that count, and the faces in them, read once."""

    def __init__(self, scorer: Scorer, footage: Footage, result: Frames) -> None:
        self._scorer, first = scorer, footage.first
        case = footage.case
        self.source, self.result = case.source, result
        self.driver, self.expression = case.driver[first:], case.expression[first:]
        self._same_expression = case.expression is case.driver
        self.ground_truth = None if footage.ground_truth is None else footage.ground_truth[first:]
        self._ground_truth_drives = footage.ground_truth is case.driver

    @cached_property
    def result_pixels(self) -> Any:
        return pixels.to_unit(self.result)

    @cached_property
    def ground_truth_pixels(self) -> Any:
        assert self.ground_truth is not None
        return pixels.to_unit(self.ground_truth)

    @cached_property
    def faces(self) -> Track:
        return self._scorer.read(self.result)

    @cached_property
    def driver_faces(self) -> Track:
        return self._scorer.read(self.driver)

    @cached_property
    def expression_faces(self) -> Track:
        return self.driver_faces if self._same_expression else self._scorer.read(self.expression)

    @cached_property
    def ground_truth_faces(self) -> Track:
        assert self.ground_truth is not None
        return self.driver_faces if self._ground_truth_drives else self._scorer.read(self.ground_truth)


def _keep(score: ClipScore, key: str, frames: Sequence[float | None], why: str = "no frame could be measured") -> None:
    score.frames[key] = list(frames)
    score.values[key] = pixels.mean(frames)
    if score.values[key] is None:
        score.absent[key] = why


def _score_pixels(scorer: Scorer, scene: _Scene, keys: list[str], score: ClipScore) -> None:
    for key, measure in (("l1", pixels.l1), ("psnr", pixels.psnr), ("ssim", pixels.ssim)):
        if key in keys:
            _keep(score, key, measure(scene.result_pixels, scene.ground_truth_pixels))
    if "lpips" in keys:
        _keep(score, "lpips", scorer.lpips.distances(scene.result_pixels, scene.ground_truth_pixels))
    if "tlp" in keys:
        steps = [scorer.lpips.distances(p[1:], p[:-1]) for p in (scene.result_pixels, scene.ground_truth_pixels)]
        _keep(score, "tlp", [abs(a - b) for a, b in zip(*steps, strict=True)], "a single frame")


def _score_patches(scorer: Scorer, scene: _Scene, keys: list[str], score: ClipScore) -> None:
    wanted = [key for key in ("eyes_l1", "mouth_l1", "eyes_lpips", "mouth_lpips") if key in keys]
    if not wanted:
        return
    found: dict[str, list[float | None]] = {key: [] for key in wanted}
    tracks = (scene.result_pixels, scene.ground_truth_pixels, scene.ground_truth_faces)
    for *frames, face in zip(*tracks, strict=True):
        for place in (0, 1):
            part = ("eyes", "mouth")[place]
            cut = None if face is None else [pixels.patches(frame, face.landmarks)[place] for frame in frames]
            if f"{part}_l1" in wanted:
                found[f"{part}_l1"].append(None if cut is None else float((cut[0] - cut[1]).abs().mean()))
            if f"{part}_lpips" in wanted:
                apart = None if cut is None else float(np.mean(scorer.lpips.distances(*cut)))
                found[f"{part}_lpips"].append(apart)
    for key in wanted:
        _keep(score, key, found[key], "no face was found in the ground truth")


def _score_faces(scorer: Scorer, scene: _Scene, keys: list[str], score: ClipScore) -> None:
    by_frame: Mapping[str, Callable[[], list[float | None]]] = {
        "aed": lambda: motion.per_frame(motion.aed, scene.expression_faces, scene.faces),
        "blendshapes": lambda: motion.per_frame(motion.aed, scene.ground_truth_faces, scene.faces),
        "landmarks": lambda: motion.per_frame(motion.landmark_error, scene.ground_truth_faces, scene.faces),
        "apd": lambda: motion.per_frame(motion.apd, scene.driver_faces, scene.faces),
        "pose": lambda: motion.per_frame(motion.pose_degrees, scene.driver_faces, scene.faces),
        "gaze": lambda: motion.per_frame(motion.gaze_error, scene.expression_faces, scene.faces),
        "found": lambda: [0.0 if face is None else 1.0 for face in scene.faces],
        "sharpness": lambda: _sharpness(scorer, scene),
    }
    for key, measure in by_frame.items():
        if key in keys:
            _keep(score, key, measure(), "no frame in which all the faces could be read")
    by_clip: Mapping[str, Callable[[], float | None]] = {
        "pose_correlation": lambda: motion.pose_correlation(scene.driver_faces, scene.faces),
        "expression_correlation": lambda: motion.expression_correlation(scene.expression_faces, scene.faces),
        "motion": lambda: motion.motion_amount(scene.driver_faces, scene.expression_faces, scene.faces),
        "jitter": lambda: motion.jitter_ratio(scene.driver_faces, scene.faces),
    }
    for key, whole in by_clip.items():
        if key in keys:
            score.values[key] = whole()
            if score.values[key] is None:
                score.absent[key] = "the clip is too short, or its driving video holds still"


def _sharpness(scorer: Scorer, scene: _Scene) -> list[float | None]:
    source = scorer.reader.read(scene.source)
    reference = None if source is None else pixels.sharpness(scene.source, source.landmarks)
    if not reference:
        return [None] * len(scene.faces)
    found = [
        None if face is None else pixels.sharpness(frame, face.landmarks)
        for frame, face in zip(scene.result, scene.faces, strict=True)
    ]
    return [None if value is None else value / reference for value in found]


def _score_identity(scorer: Scorer, scene: _Scene, keys: list[str], score: ClipScore) -> None:
    for key in keys:
        if key.startswith("identity_"):
            embedder = scorer.embedders[key]
            source = embedder.embed(scene.source)
            found = [cosine(source, embedder.embed(frame)) for frame in scene.result]
            _keep(score, key, found, "no face was found in the source or in the result")


def _score_quality(scorer: Scorer, scene: _Scene, keys: list[str], score: ClipScore) -> None:
    for key in ("hyperiqa", "clip_iqa"):
        if key in keys:
            _keep(score, key, scorer.judges[key](scene.result_pixels))


def _score_sets(scorer: Scorer, scene: _Scene, keys: list[str], score: ClipScore) -> None:
    for key in ("fid", "fvd"):
        if key in keys:
            network = scorer.inception if key == "fid" else scorer.i3d
            for name, frames in (("result", scene.result_pixels), ("ground_truth", scene.ground_truth_pixels)):
                score.features[f"{key}_{name}"] = np.asarray(network.features(frames), np.float32)
