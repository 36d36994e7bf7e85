"""Fits how keypoints move with expression scores to rendered people; see `mien.training.keypoint_basis`.

python scripts/fit_keypoint_basis.py --data GROUPS --out MODEL/keypoint_basis
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.avatars.group_files import GroupFolder
from mien.faces import FaceReader, load_face_reader
from mien.models.keypoint_basis import KeypointBasis
from mien.motion.keypoint_motion import FaceBasis
from mien.training.keypoint_basis import fit_basis, head_shapes

logger = logging.getLogger(__name__)

_PARTS = {"eyes": slice(36, 48), "mouth": slice(48, 68), "pupils": slice(68, 70), "all": slice(0, 70)}


def read_groups(
    folder: Path, reader: FaceReader, rng: np.random.Generator, per_person: int, people: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Scores, shapes and persons (see `fit_basis`) of some frames of some people of every group."""
    scores, shapes, persons, number = [], [], [], 0
    for group in GroupFolder(folder).groups:
        known, frames = head_shapes(group, group.side), group.frames
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
        logger.info("%s: %d people so far", group.name, number)
    return np.concatenate(scores), np.concatenate(shapes), np.concatenate(persons)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="a folder: the part keypoint_basis of a model")
    parser.add_argument("--reader", default="auto")
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
    KeypointBasis.of(FaceBasis(mean, basis)).save_pretrained(args.out)


if __name__ == "__main__":
    main()
