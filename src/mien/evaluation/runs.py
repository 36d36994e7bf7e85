"""What a run leaves on disk: a folder for each system, a file of scores for each clip, and what they were made with.

    RUN/run.json            the system, the benchmark's pairs, versions, what failed and what is missing
    RUN/frames/ID/*.png     the system's answer, which others may score as --predictions NAME=RUN/frames
    RUN/scores/ID.json      numbers of a clip and of its frames
    RUN/features/ID.npz     rows for FID and FVD
    RUN/looks/ID-*.webp|mp4 small pictures for the report

Nothing in these files depends on when or how often a run was stopped.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import InputError
from mien.evaluation.footage import Frames
from mien.evaluation.registry import METRICS
from mien.evaluation.scoring import NO_GROUND_TRUTH, ClipScore
from mien.evaluation.statistics import Figure, Kind, clip_figure, set_figure
from mien.media import write_image
from mien.media.files import json_bytes, whole_file

FORMAT = "mien-run/1"
NOT_ASKED = "it was not asked for"
_OLD_NAMES = {"ground_truth": "truth"}  # of features, as the first release wrote them
_OLD_REASONS = {"no truth exists for this pair": NO_GROUND_TRUTH}
_DIGITS = 7  # of numbers in files: libraries differ in the last bits


@dataclass(frozen=True)
class ClipRecord:
    """Scores of a clip as kept.

    Attributes:
        id: of the pair.
        protocol: of the pair.
        answer: digest of what the frames were made from.
        scored: digest of what the scores were made from.
        values: see `ClipScore`.
        frames: see `ClipScore`.
        absent: see `ClipScore`.
    """

    id: str
    protocol: str
    answer: str
    scored: str
    values: dict[str, float | None]
    frames: dict[str, list[float | None]]
    absent: dict[str, str]


@dataclass(frozen=True)
class Run:
    """A run folder, read.

    Attributes:
        name: of the system in tables.
        folder: of the run.
        system: as it describes itself.
        benchmark: name, side and pairs (id, protocol, tags).
        versions: of what it was made with.
        unavailable: metrics without what they need, and why.
        failed: pairs without an answer, and why.
        inapplicable: protocols that the system does not do.
        clips: what was scored.
        networks: files that metrics were measured with, see `mien.evaluation.weights.networks_used`.
    """

    name: str
    folder: Path
    system: Mapping[str, Any]
    benchmark: Mapping[str, Any]
    versions: Mapping[str, Any]
    unavailable: Mapping[str, str]
    failed: Mapping[str, str]
    inapplicable: Sequence[str]
    clips: Sequence[ClipRecord] = field(default_factory=tuple)
    networks: Mapping[str, Any] = field(default_factory=dict)

    def of(self, protocol: str) -> list[ClipRecord]:
        """The clips of a protocol."""
        return [clip for clip in self.clips if clip.protocol == protocol]

    def figure(self, protocol: str, key: str) -> Figure:
        """One metric over the clips of a protocol."""
        if protocol in self.inapplicable:
            return Figure(None, "inapplicable", key, why=f"{self.name} does not do {protocol}")
        if key in self.unavailable:
            return Figure(None, "missing", key, why=self.unavailable[key])
        clips = self.of(protocol)
        if not clips:
            return Figure(None, "missing", key, why=f"no clip of this benchmark was scored in {protocol}")
        if METRICS[key].level == "set":
            return self._set_figure(clips, key)
        values = [value for clip in clips if (value := clip.values.get(key)) is not None]
        return clip_figure(key, values, protocol) if values else _nothing(clips, key)

    def _set_figure(self, clips: Sequence[ClipRecord], key: str) -> Figure:
        rows: dict[str, list[NDArray[Any]]] = {"result": [], "ground_truth": []}
        for clip in clips:
            path = self.folder / "features" / f"{clip.id}.npz"
            if path.is_file():
                with np.load(path, allow_pickle=False) as stored:
                    for name, kept in rows.items():
                        found = [f"{key}_{n}" for n in (name, _OLD_NAMES.get(name)) if f"{key}_{n}" in stored]
                        kept += [stored[entry] for entry in found[:1]]
        if not rows["result"] or not rows["ground_truth"]:
            return _nothing(clips, key)
        return set_figure(key, rows["result"], rows["ground_truth"])


def _nothing(clips: Sequence[ClipRecord], key: str) -> Figure:
    """Why no clip has a number."""
    told = {clip.absent[key] for clip in clips if key in clip.absent} or {NOT_ASKED}
    reasons = {_OLD_REASONS.get(reason, reason) for reason in told}
    kind: Kind = "inapplicable" if reasons == {NO_GROUND_TRUTH} else "missing"
    return Figure(None, kind, key, why=", ".join(sorted(reasons)))


def read_run(folder: Path) -> Run:
    """Read a run folder. Raises InputError if it is none."""
    content = _read_json(folder / "run.json")
    if content is None or content.get("format") != FORMAT:
        raise InputError(f"{folder} is no finished run: give a folder that mien evaluate run has written")
    clips = []
    for pair in content["benchmark"]["pairs"]:
        record = read_record(folder, pair["id"])
        if record is not None and pair["id"] not in content["failed"]:
            clips.append(record)
    return Run(
        content["name"],
        folder,
        content["system"],
        content["benchmark"],
        content["versions"],
        content["unavailable"],
        content["failed"],
        content["inapplicable"],
        tuple(clips),
        content.get("networks", {}),
    )


def find_runs(places: Sequence[Path]) -> list[Run]:
    """Runs in the given folders, or one level below them. Raises InputError if a place holds none."""
    runs: list[Run] = []
    for place in places:
        folders = [place] if (place / "run.json").is_file() else sorted(p.parent for p in place.glob("*/run.json"))
        if not folders:
            raise InputError(f"{place} holds no run: give a folder that mien evaluate run has written")
        runs += [read_run(folder) for folder in folders]
    return runs


def write_run(run: Run) -> None:
    """Write run.json."""
    content = {
        "format": FORMAT,
        "name": run.name,
        "system": run.system,
        "benchmark": run.benchmark,
        "versions": run.versions,
        "unavailable": run.unavailable,
        "failed": run.failed,
        "inapplicable": list(run.inapplicable),
        "networks": run.networks,
    }
    _write_json(run.folder / "run.json", content)


def read_record(folder: Path, name: str) -> ClipRecord | None:
    """The kept scores of a clip; None if there are none."""
    content = _read_json(folder / "scores" / f"{name}.json")
    try:
        return None if content is None else ClipRecord(**content)
    except TypeError:  # of another version of this program
        return None


def write_record(folder: Path, name: str, protocol: str, answer: str, scored: str, score: ClipScore) -> None:
    """Keep the scores of a clip; the file of scores comes last, for it says that all is there."""
    if score.features:
        with whole_file(folder / "features" / f"{name}.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, **{key: score.features[key] for key in sorted(score.features)})  # type: ignore[arg-type]
    content = {
        "id": name,
        "protocol": protocol,
        "answer": answer,
        "scored": scored,
        "values": {key: _rounded(value) for key, value in score.values.items()},
        "frames": {key: [_rounded(value) for value in values] for key, values in score.frames.items()},
        "absent": score.absent,
    }
    _write_json(folder / "scores" / f"{name}.json", content)


def write_answer(folder: Path, name: str, digest: str, frames: Frames) -> None:
    """Keep a system's frames as pictures; the file that holds the digest comes last."""
    target = folder / "frames" / name
    if target.exists():
        shutil.rmtree(target)
    for index, frame in enumerate(frames):
        write_image(target / f"{index:05d}.png", frame)
    _write_json(folder / "answers" / f"{name}.json", {"digest": digest, "frames": len(frames)})


def kept_answer(folder: Path, name: str, digest: str) -> Path | None:
    """Where the frames of a clip lie if they answer this very question; None if they have to be made."""
    content = _read_json(folder / "answers" / f"{name}.json")
    target = folder / "frames" / name
    if content is None or content.get("digest") != digest or not target.is_dir():
        return None
    return target if len(list(target.glob("*.png"))) == content.get("frames") else None


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), _DIGITS)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with whole_file(path) as temporary:
        temporary.write_bytes(json_bytes(content, indent=1))
