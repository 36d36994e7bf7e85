"""How well a face reader agrees with a teacher on portraits and clips that neither was trained on.

    python scripts/score_face_reader.py --data FOLDER --out runs/scores
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mien.faces import EXPRESSION_NAMES, FaceReader, FaceReading, FaceTracker, load_face_reader
from mien.media import open_clip, read_image

_LOG = logging.getLogger(__name__)
_STILL_DEGREES, _STILL_SCORE = 1.5, 0.03  # standard deviations below which a signal is no signal
SIGNALS: dict[str, tuple[str, ...]] = {
    "yaw": (),
    "pitch": (),
    "roll": (),
    "jaw": ("jawOpen",),
    "blink": ("eyeBlinkLeft", "eyeBlinkRight"),
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "brow": ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    "gaze": ("eyeLookOutLeft", "eyeLookInLeft", "eyeLookOutRight", "eyeLookInRight"),
}


@dataclass(frozen=True)
class Agreement:
    """found: share of the teacher's faces that the reader finds too. landmarks: mean error, % of the distance of the
    outer eye corners. correlation: by signal, None where the teacher's hardly moves. degrees: mean error of yaw, pitch
    and roll. jitter: mean second difference of the landmarks, reader over teacher. milliseconds: a frame.
    """

    name: str
    frames: int
    found: float
    landmarks: float
    degrees: tuple[float, float, float]
    correlation: dict[str, float | None]
    jitter: float | None
    milliseconds: float


def read_clip(reader: FaceReader, frames: Iterable[np.ndarray]) -> tuple[list[FaceReading | None], float]:
    """Follow a face through frames; frames in which it was not found are None. Also the seconds it took."""
    tracker = FaceTracker(reader)
    began = time.perf_counter()
    track = list(tracker.track(frames))
    spent = time.perf_counter() - began
    return [face.reading if face.state == "found" else None for face in track], spent


def agreement(
    name: str, teacher: list[FaceReading | None], reader: list[FaceReading | None], seconds: float = 0.0
) -> Agreement:
    """Compare two readings of the same frames."""
    both = [(t, r) for t, r in zip(teacher, reader, strict=True) if t is not None and r is not None]
    expected = sum(t is not None for t in teacher)
    errors = [landmark_error(t, r) for t, r in both]
    degrees = np.array([np.abs(_angles(t) - _angles(r)) for t, r in both]).reshape(-1, 3).mean(0)
    correlation: dict[str, float | None] = {}
    for signal in SIGNALS:
        still = _STILL_DEGREES if signal in ("yaw", "pitch", "roll") else _STILL_SCORE
        a, b = (np.array([_signal(pair[side], signal) for pair in both]) for side in (0, 1))
        moving = len(a) >= 8 and a.std() > still
        correlation[signal] = float(np.corrcoef(a, b)[0, 1]) if moving and b.std() > 1e-9 else None
    return Agreement(
        name,
        len(teacher),
        len(both) / max(expected, 1),
        float(np.mean(errors)) if errors else float("nan"),
        (float(degrees[0]), float(degrees[1]), float(degrees[2])),
        correlation,
        _jitter([t.landmarks for t, _ in both], [r.landmarks for _, r in both]),
        1000 * seconds / max(len(reader), 1),
    )


def landmark_error(teacher: FaceReading, reader: FaceReading) -> float:
    """Mean distance of the 68 points, % of the distance of the teacher's outer eye corners."""
    distance = float(np.linalg.norm(teacher.landmarks[36] - teacher.landmarks[45]))
    return float(np.linalg.norm(teacher.landmarks - reader.landmarks, axis=1).mean()) / distance * 100


def _angles(reading: FaceReading) -> np.ndarray:
    return np.array([reading.pose.yaw, reading.pose.pitch, reading.pose.roll])


def _signal(reading: FaceReading, name: str) -> float:
    if not SIGNALS[name]:
        return float(getattr(reading.pose, name))
    return float(np.mean([reading.expression[EXPRESSION_NAMES.index(n)] for n in SIGNALS[name]]))


def _jitter(teacher: list[np.ndarray], reader: list[np.ndarray]) -> float | None:
    if len(teacher) < 3:
        return None
    own, given = (float(np.abs(np.diff(np.stack(track), n=2, axis=0)).mean()) for track in (reader, teacher))
    return own / max(given, 1e-6)


def table(rows: list[Agreement]) -> str:
    """A Markdown table of the rows and their mean."""
    head = ["clip", "frames", "found", "landmarks %", "yaw, pitch, roll off by", *SIGNALS, "jitter"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [row.name, str(row.frames), f"{row.found:.3f}", f"{row.landmarks:.1f}"]
        cells.append(", ".join(f"{d:.1f}" for d in row.degrees))
        cells += ["-" if row.correlation[s] is None else f"{row.correlation[s]:.2f}" for s in SIGNALS]
        cells.append("-" if row.jitter is None else f"{row.jitter:.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    means = [np.mean([row.landmarks for row in rows]), *np.mean([row.degrees for row in rows], axis=0)]
    known = {s: [c for row in rows if (c := row.correlation[s]) is not None] for s in SIGNALS}
    cells = ["mean", str(sum(row.frames for row in rows)), f"{np.mean([row.found for row in rows]):.3f}"]
    cells += [f"{means[0]:.1f}", ", ".join(f"{d:.1f}" for d in means[1:])]
    cells += [f"{np.mean(values):.2f}" if values else "-" for values in known.values()]
    cells.append(f"{np.mean([row.jitter for row in rows if row.jitter is not None]):.1f}")
    return "\n".join([*lines, "| " + " | ".join(cells) + " |"])


def main() -> None:
    """Score the nano reader against the mesh reader on a folder with an index.json of portraits and driving videos."""
    parser = argparse.ArgumentParser(description="Compare the nano face reader with the mesh reader.")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    teacher, reader = load_face_reader("mesh"), load_face_reader("nano", options.weights)
    index = json.loads((options.data / "index.json").read_text())
    options.out.mkdir(parents=True, exist_ok=True)
    stills = []
    for entry in index["portraits"]:
        image = read_image(options.data / entry["file"])
        given, own = teacher.read(image), reader.read(image)
        stills.append(agreement(entry["id"], [given], [own]))
        _LOG.info("%s found %.0f landmarks %.1f %%", entry["id"], stills[-1].found, stills[-1].landmarks)
    found = [s for s in stills if s.found]
    _LOG.info(
        "portraits: %d of %d, landmarks %.2f %% (median %.2f)",
        len(found),
        len(stills),
        np.mean([s.landmarks for s in found]),
        np.median([s.landmarks for s in found]),
    )
    clips = []
    for entry in index["driving"]:
        path = options.data / entry["file"]
        given_track, _ = read_clip(teacher, open_clip(path))
        own_track, seconds = read_clip(reader, open_clip(path))
        clips.append(agreement(entry["id"], given_track, own_track, seconds))
    _LOG.info("%s", table(clips))
    rows = [asdict(row) for row in [*stills, *clips]]
    (options.out / "face_scores.json").write_text(json.dumps(rows, indent=1) + "\n")
    teacher.close()


if __name__ == "__main__":
    main()
