"""The linear part of the reenactor: how keypoints move with expression scores, fitted to rendered people.

What a face reader reads off rendered frames is set against where the landmarks truly are in the head's frame, so that
the fit also undoes the reader's own amplitudes. Ridge regression over the frames, each person's mean taken off both
sides; the mean head is the mean of the people's intercepts.

    python -m mien.training.reenactor.keypoint_basis --data GROUPS --out basis.safetensors
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from mien.avatars.camera import FOCAL
from mien.avatars.groups import SIDE
from mien.faces import FaceReader, load_face_reader
from mien.geometry.pose import in_half_faces
from mien.media.files import whole_file

logger = logging.getLogger(__name__)

_PARTS = {"eyes": slice(36, 48), "mouth": slice(48, 68), "pupils": slice(68, 70), "all": slice(0, 70)}


def head_shapes(meta: Mapping[str, NDArray[Any]]) -> NDArray[np.floating]:
    """A group's keypoints in the heads' frames [p, m, 70, 3], half face heights, see `in_half_faces`.

    The camera's perspective is undone: a nose that comes nearer as the head turns would seem to move by itself, and
    every score that goes with turns would move noses.
    """
    pupils = meta["pupils"]
    marks = np.concatenate([meta["landmarks"], pupils[..., :2]], 2) - SIDE / 2
    depths = np.concatenate([meta["depths"], pupils[..., 2]], 2)[..., None]
    seen = marks * (1 + depths / (FOCAL * SIDE))  # as long as it would be in the plane of the head's origin
    return in_half_faces(np.einsum("pmkc,mcd->pmkd", np.concatenate([seen, depths], -1), meta["rotation"]))


def fit_basis(
    scores: NDArray[np.floating], shapes: NDArray[np.floating], person: NDArray[np.integer], ridge: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """scores [n, 52], shapes [n, 70, 3], person [n]: numbers from 0. Returns the mean head [70, 3] and [52, 70, 3]."""
    rows = shapes.reshape(len(shapes), -1)
    people = np.unique(person)
    score_mean = np.stack([scores[person == p].mean(0) for p in people])
    shape_mean = np.stack([rows[person == p].mean(0) for p in people])
    index = np.searchsorted(people, person)
    x, y = scores - score_mean[index], rows - shape_mean[index]
    weights = np.linalg.solve(x.T @ x + ridge * len(x) / 1000 * np.eye(x.shape[1]), x.T @ y)
    mean = (shape_mean - score_mean @ weights).mean(0)
    return mean.reshape(-1, 3).astype(np.float32), weights.reshape(x.shape[1], -1, 3).astype(np.float32)


def read_groups(
    folder: Path, reader: FaceReader, rng: np.random.Generator, per_person: int, people: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Scores, shapes and persons (see `fit_basis`) of some frames of some people of every group."""
    scores, shapes, persons, number = [], [], [], 0
    for path in sorted(folder.glob("group_*_meta.npz")):
        known = head_shapes(np.load(path))
        frames = np.load(str(path).replace("_meta.npz", "_frames.npy"), mmap_mode="r")
        for row in rng.choice(len(frames), min(people, len(frames)), replace=False):
            chosen = rng.choice(frames.shape[1], min(per_person, frames.shape[1]), replace=False)
            found = [(m, reader.read(np.asarray(frames[row, m]))) for m in chosen]
            kept = [(m, reading.expression) for m, reading in found if reading is not None]
            if len(kept) < 8:
                continue
            at = np.array([m for m, _ in kept])
            shapes.append(known[row, at])
            scores.append(np.stack([expression for _, expression in kept]))
            persons.append(np.full(len(kept), number))
            number += 1
        logger.info("%s: %d people so far", path.name[:9], number)
    return np.concatenate(scores), np.concatenate(shapes), np.concatenate(persons)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--reader", default="nano")
    parser.add_argument("--people", type=int, default=12, help="of a group")
    parser.add_argument("--frames", type=int, default=32, help="of a person")
    parser.add_argument("--ridge", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    rng = np.random.default_rng(args.seed)
    scores, shapes, person = read_groups(args.data, load_face_reader(args.reader), rng, args.frames, args.people)
    test = person >= person.max() - person.max() // 8
    mean, basis = fit_basis(scores[~test], shapes[~test], person[~test], args.ridge)
    for name, chosen in (("trained", ~test), ("held out", test)):
        left = shapes[chosen] - np.tensordot(scores[chosen], basis, 1)
        plain = shapes[chosen]
        for p in np.unique(person[chosen]):
            mine = person[chosen] == p
            left[mine] -= left[mine].mean(0)
            plain[mine] -= plain[mine].mean(0)
        for part, points in _PARTS.items():
            explained = 1 - (left[:, points] ** 2).sum() / (plain[:, points] ** 2).sum()
            logger.info("%s people, %s: %.3f of the variance explained", name, part, explained)
    with whole_file(args.out) as temporary:
        made = {"reader": args.reader, "frames": str(len(scores))}
        temporary.write_bytes(save({"mean": mean, "shapes": basis}, made))


if __name__ == "__main__":
    main()
