"""What DeX-Portrait's encoders are worth on rendered heads they never saw: the figures that the project promises.

    python benchmarks/dex_encoder_scores.py ENCODERS PEOPLE [--count 64] [--yaw 20] [--out SCORES.json]

ENCODERS: a run of dex/face-window-encoder, dex/motion or dex/face-window, or a pipeline folder; they are shown what
inference shows them. PEOPLE: a head model
(.npz, `mien data head-model`) or a packed cast (`mien data pack`), of whose head model people are made who are nobody's
likeness, so that no training has seen them. With `--likenesses` a cast's own people are shown instead: then it must be
of people who were kept out.

Pose: against the exact one. Expression: how alike its codes are in a turned picture and under another yaw, next to
how alike those of different expressions are, for a code that never changes would be perfectly alike. Leak: how far the
pose moves when nothing but the expression does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from mien.avatars.head_model import load_head_model
from mien.avatars.pack import PackedCast, load_pack
from mien.errors import WeightsError
from mien.models.dex_portrait import FACE_WINDOW, NANO
from mien.models.dex_portrait.expression_encoder import ExpressionEncoder
from mien.models.dex_portrait.face_encoders import FaceExpressionEncoder, FacePoseEncoder
from mien.models.dex_portrait.networks import expression_encoder as fresh_expression_encoder
from mien.models.dex_portrait.networks import pose_encoder as fresh_pose_encoder
from mien.models.dex_portrait.pose import codes_of_head_poses
from mien.models.dex_portrait.pose_encoder import PoseEncoder
from mien.pipelines import loading
from mien.pipelines.dex_portrait import ENCODERS, PARTS
from mien.pipelines.dex_portrait_encoders import read_expressions, read_poses
from mien.training.data.rendered_people import RenderedPeople, RenderOptions
from mien.training.data.samples import FaceFrame
from mien.training.dex_portrait.losses import pose_errors
from mien.training.engine import checkpoints

# what is promised: the limit, and whether a score must stay below it
PROMISES = {
    "degrees": (4.0, True),
    "turned_in_plane": (0.97, False),
    "turned_away": (0.93, False),
    "leak": (1.0, True),
}
_SIDE = 256  # of the rendered pictures, pixels
_AT_ONCE = 16

Pose = PoseEncoder | FacePoseEncoder
Expression = ExpressionEncoder | FaceExpressionEncoder


@dataclass(frozen=True)
class Variation:
    """One person three times: as they are; with the same expression turned in yaw; in the same pose with another
    expression."""

    base: FaceFrame
    turned: FaceFrame
    mimic: FaceFrame


@dataclass(frozen=True)
class EncoderScores:
    """Means over the variations. degrees, place (image units), zoom (|log s|): pose error. turned_in_plane,
    turned_away: cosine of expression codes; different: of different people and expressions. leak: degrees by which the
    pose moves with the expression."""

    degrees: float
    place: float
    zoom: float
    turned_in_plane: float
    turned_away: float
    different: float
    leak: float


@torch.no_grad()
def score_encoders(
    pose_encoder: Pose, expression_encoder: Expression, variations: Sequence[Variation], degrees: float = 30.0
) -> EncoderScores:
    """Scores over variations; degrees: by which pictures are turned, either way."""
    base = [variation.base for variation in variations]
    pose = _read(read_poses, pose_encoder, base)
    ground_truth = torch.from_numpy(codes_of_head_poses(np.stack([frame.head_pose() for frame in base])))
    turn, place, zoom = (error.mean().item() for error in pose_errors(pose, ground_truth))
    mimic = _read(read_poses, pose_encoder, [variation.mimic for variation in variations])
    plain = _read(read_expressions, expression_encoder, base)
    rolled = [
        _read(read_expressions, expression_encoder, [turned(frame, angle) for frame in base])
        for angle in (-degrees, degrees)
    ]
    away = _read(read_expressions, expression_encoder, [variation.turned for variation in variations])
    return EncoderScores(
        turn,
        place,
        zoom,
        float(np.mean([_likeness(plain, codes) for codes in rolled])),
        _likeness(plain, away),
        _likeness(plain, plain.roll(1, 0)),
        pose_errors(mimic, pose)[0].mean().item(),
    )


def _likeness(a: Tensor, b: Tensor) -> float:
    return float(torch.cosine_similarity(a, b).mean())


def turned(frame: FaceFrame, degrees: float) -> FaceFrame:
    """A frame's picture and landmarks, turned about the middle of the face; its border is repeated."""
    middle = frame.landmarks.mean(0)
    matrix = cv2.getRotationMatrix2D((float(middle[0]) - 0.5, float(middle[1]) - 0.5), degrees, 1)
    size = (frame.picture.shape[1], frame.picture.shape[0])
    picture = cv2.warpAffine(frame.picture, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    landmarks = (frame.landmarks - 0.5) @ matrix[:, :2].T + matrix[:, 2] + 0.5
    return replace(frame, picture=np.asarray(picture, np.uint8), landmarks=landmarks.astype(np.float32))


def _read(read: Callable[..., Tensor], encoder: Pose | Expression, frames: Sequence[FaceFrame]) -> Tensor:
    """Codes [n, c] of frames, by `read_poses` or `read_expressions`."""
    parts = [frames[first : first + _AT_ONCE] for first in range(0, len(frames), _AT_ONCE)]
    return torch.cat([read(encoder, [one.picture for one in part], [one.landmarks for one in part]) for part in parts])


def load_encoders(place: Path) -> tuple[Pose, Expression]:
    """The encoders of a run or of a pipeline folder. Raises InputError or WeightsError."""
    exported = next((one for one in (place, place / "export") if (one / ENCODERS[0]).is_dir()), None)
    if exported is not None:
        pose, expression = (loading.load_part(PARTS[part], exported / part) for part in ENCODERS)
        return pose.eval(), expression.eval()
    weights = checkpoints.find(place).averaged_weights()
    for config in (FACE_WINDOW, NANO):
        pose, expression = fresh_pose_encoder(config), fresh_expression_encoder(config)
        try:
            for part, network in zip(ENCODERS, (pose, expression), strict=True):
                own = {n.removeprefix(f"{part}."): value for n, value in weights.items() if n.startswith(f"{part}.")}
                checkpoints.fill(network, own)
            return pose.eval(), expression.eval()
        except WeightsError:
            continue
    raise WeightsError(f"{place} has no encoders of nano size: give a run of dex/face-window-encoder.")


def variations(
    cast: PackedCast, count: int, yaw: float = 20.0, likenesses: bool = False, seed: int = 1000
) -> list[Variation]:
    """So many people of a cast, each rendered three times; see `RenderedPeople.variation`."""
    people = RenderedPeople(cast, seed, RenderOptions(random_people=0.0 if likenesses else 1.0, distinct=0.5))
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        people.at_step(number * 16)  # somebody new
        made.append(Variation(*people.variation(rng, _SIDE, yaw)))
    return made


def table(scores: EncoderScores) -> str:
    """The scores as lines of Markdown, with what is promised."""
    lines = ["| score | value | promised | kept |", "|---|---|---|---|"]
    for name, value in asdict(scores).items():
        limit, below = PROMISES.get(name, (None, True))
        if limit is None:
            lines.append(f"| {name} | {value:.3f} | | |")
            continue
        kept = value <= limit if below else value >= limit
        lines.append(f"| {name} | {value:.3f} | {'<=' if below else '>='} {limit:g} | {'yes' if kept else 'no'} |")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoders", type=Path)
    parser.add_argument("people", type=Path)
    parser.add_argument("--count", type=int, default=64, help="people")
    parser.add_argument("--yaw", type=float, default=20.0, help="degrees between two views of an expression")
    parser.add_argument("--likenesses", action="store_true", help="a cast's own people")
    parser.add_argument("--out", type=Path, help="a file for the scores (.json)")
    args = parser.parse_args()
    head = args.people.suffix == ".npz"
    cast = PackedCast(load_head_model(args.people), (), ()) if head else load_pack(args.people)
    encoders = load_encoders(args.encoders)
    scores = score_encoders(*encoders, variations(cast, args.count, args.yaw, args.likenesses))
    print(table(scores))
    if args.out is not None:
        args.out.write_text(json.dumps(asdict(scores), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
