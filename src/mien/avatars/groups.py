"""Groups of people who all perform the same motions, as the files that `mien.avatars.group_files` reads.

A group NNN of p people and m = 64 motions is complete when its last file, people.json, is there:

- group_NNN_frames.npy: uint8 [p, m, s, s, 3] RGB, s = 256 unless the plan says another side.
- group_NNN_sources.npy: uint8 [p, s, s, 3] RGB: the photograph itself; of random people a neutral view.
- group_NNN_meta.npz: landmarks [p, m, 68, 2] float32, pixels, the first one's centre at (0.5, 0.5), iBUG order; exact:
  projected vertices, hidden ones too; depths [p, m, 68]: see `View`; origins [p, m, 2]: where the head's own origin is
  seen, pixels. pupils [p, m, 2, 3]: pixels and depth, the eye of landmarks 36 to 41 first. neutral [p, m, 70, 2]:
  where landmarks and pupils would be in the same pose without any expression.
  head_pose [p, m, 6] float32: rotation vector, translation, scale of `HeadPose`.
  pose [m, 3]: yaw, pitch, roll, degrees. rotation [m, 3, 3]: `HeadPose.matrix`. shift_scale [m, 3]: see `HeadMotion`.
  expression [m, 57] and expression_names. motion_kind [m]. clips [2, 2]: first and last + 1 motion of the continuous
  ones. visible_frames [p, m]: whether all landmarks lie in the picture; visible [p]: in more than 95 % of the motions.
  validation: bool. schema: 5.
- group_NNN_people.json: in the order of the rows, id, kind ("photo" or "random"), style and details of each person; and
  who was left out, with the reason.

Everything depends on the plan and the seed only, so that a run that was stopped and started again gives the same files.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.avatars.camera import Floats, HeadMotion, head_pose, project
from mien.avatars.cast import load_member
from mien.avatars.head_model import HeadModel
from mien.avatars.motion import Track
from mien.avatars.people import RandomPerson
from mien.avatars.performances import CLIPS, Performance, make_performance
from mien.avatars.photo import PhotoAvatar, neutral_keypoints
from mien.avatars.styles import Style
from mien.errors import InputError
from mien.media.files import whole_file

SIDE = 256
_ATLAS = 1024

Actor: TypeAlias = PhotoAvatar | RandomPerson  # whoever can be rendered


@dataclass(frozen=True)
class Role:
    """One person of a plan.

    Attributes:
        id: name of the person.
        file: of the cast, of people from photographs.
        seed: of random people.
        look_alike: those of one name look alike.
        style: of the person's pictures.
    """

    id: str
    file: Path | None = None
    seed: int | None = None
    look_alike: str | None = None
    style: Style = Style()


@dataclass(frozen=True)
class GroupPlan:
    """Who is in a group.

    Attributes:
        number: of the group.
        roles: of its people.
        validation: whether it is kept out of training.
        seed: of its motions.
        paired, distinct: see `make_performance`.
        side: of its pictures, pixels.
    """

    number: int
    roles: tuple[Role, ...]
    validation: bool
    seed: int
    paired: bool = False
    distinct: float = 0.0
    side: int = SIDE

    @property
    def name(self) -> str:
        """What its files begin with."""
        return f"group_{self.number:03d}"


def make_plan(
    roles: Sequence[Role],
    per_group: int,
    validation_groups: int,
    seed: int,
    paired: bool = False,
    distinct: float = 0.0,
    side: int = SIDE,
    held_out: Collection[str] = (),
) -> list[GroupPlan]:
    """Spread people over groups at random; those who look alike are all in training or all in validation groups.

    Args:
        roles: everybody.
        per_group: people in a group.
        validation_groups: how many of the last groups are for validation.
        seed: of the order and of all motions.
        paired: see `make_performance`.
        distinct: see `make_performance`.
        side: of the pictures, pixels.
        held_out: ids of people who are moved to validation groups, with those who look like them, where chance has put
            them elsewhere.
    """
    rng = np.random.default_rng(seed)
    clusters: dict[str, list[Role]] = {}
    for role in sorted(roles, key=lambda r: r.id):
        clusters.setdefault(role.look_alike or f"alone {role.id}", []).append(role)
    order = [list(clusters.values())[i] for i in rng.permutation(len(clusters))]
    groups = max(-(-len(roles) // per_group), validation_groups + 1 if validation_groups else 1)
    wanted = round(len(roles) * validation_groups / groups)
    kept_out: list[Role] = []
    training: list[Role] = []
    for cluster in order:
        fits = len(cluster) <= 4 and len(kept_out) + len(cluster) <= wanted
        (kept_out if fits or any(role.id in held_out for role in cluster) else training).extend(cluster)
    plans = []
    first = groups - validation_groups
    for number in range(groups):
        chosen = training[number::first] if number < first else kept_out[number - first :: validation_groups]
        rest = number >= first, seed * 7 + number, paired, distinct, side
        plans.append(GroupPlan(number, tuple(chosen), *rest))
    return [plan for plan in plans if plan.roles]


def is_complete(folder: Path, plan: GroupPlan) -> bool:
    """Whether the group has been written."""
    return (folder / f"{plan.name}_people.json").is_file()


@dataclass(frozen=True, eq=False)
class Acted:
    """What one person shows in m motions; see this module's head."""

    frames: NDArray[np.uint8]  # [m, s, s, 3]
    landmarks: Floats  # [m, 68, 2]
    depths: Floats  # [m, 68]
    origins: Floats  # [m, 2]
    poses: Floats  # [m, 6]
    pupils: Floats  # [m, 2, 3]
    neutral: Floats  # [m, 70, 2]


def perform(model: HeadModel, actor: Actor, performance: Performance, style: Style, size: int = SIDE) -> Acted:
    """Render one person in every motion of a performance.

    Args:
        model: of the head.
        actor: the person.
        performance: m motions.
        style: of the pictures.
        size: side of the pictures, pixels.
    """
    frames, landmarks, depths, origins, poses, pupils, neutral = [], [], [], [], [], [], []
    for index in range(len(performance)):
        view = actor.render(performance.expression[index], performance.motion(index), size)
        pose = head_pose(view.placement, view.landmarks, size)
        frames.append(style.apply(view.image))
        landmarks.append(view.landmarks)
        depths.append(view.depths)
        origins.append(project(view.placement.offset[None], size)[0])
        poses.append([*pose.rotation, *pose.translation, pose.scale])
        pupils.append(view.pupils)
        neutral.append(neutral_keypoints(model, actor.shape, view.placement, size))
    rows = (np.array(row, np.float32) for row in (landmarks, depths, origins, poses, pupils, neutral))
    return Acted(np.stack(frames), *rows)


def render_group(model: HeadModel, plan: GroupPlan, library: list[Track], folder: Path) -> dict[str, Any]:
    """Render and write a group.

    Args:
        model: of the head.
        plan: who and how.
        library: measured motions; may be empty.
        folder: to write to.

    Returns:
        The content of its people.json, which also names those who failed.

    Raises:
        InputError: if nobody can be rendered.
    """
    performance = make_performance(
        model, np.random.default_rng(plan.seed), library, paired=plan.paired, distinct=plan.distinct
    )
    rows, sources, people, rejected = [], [], [], []
    for role in plan.roles:
        try:
            actor, source, details = _engage(model, role, plan.side)
        except InputError as error:
            rejected.append({"id": role.id, "reason": str(error)})
            continue
        rows.append(perform(model, actor, performance, role.style, plan.side))
        sources.append(role.style.apply(source))
        kind = "random" if role.file is None else "photo"
        people.append({"id": role.id, "kind": kind, "style": asdict(role.style), **details})
    if not rows:
        raise InputError(f"nobody of {plan.name} can be rendered: {rejected[0]['reason']}")
    _save(folder / f"{plan.name}_frames.npy", np.stack([row.frames for row in rows]))
    _save(folder / f"{plan.name}_sources.npy", np.stack(sources))
    _save_meta(folder / f"{plan.name}_meta.npz", model, plan, performance, rows)
    summary = {"group": plan.number, "validation": plan.validation, "people": people, "rejected": rejected}
    with whole_file(folder / f"{plan.name}_people.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=1), encoding="utf-8")
    return summary


def _engage(model: HeadModel, role: Role, side: int) -> tuple[Actor, NDArray[np.uint8], dict[str, Any]]:
    """The person, its source picture [s, s, 3] and what is known of it."""
    if role.file is not None:
        member = load_member(role.file)
        source = cv2.resize(member.photo, (side, side), interpolation=cv2.INTER_AREA)
        return member.avatar(model, _ATLAS), np.asarray(source, np.uint8), dict(member.details)
    assert role.seed is not None
    person = RandomPerson(model, role.seed)
    yaw = float(np.random.default_rng(role.seed + 1).normal() * 3)
    return person, person.render(model.coefficients(), HeadMotion(yaw), side).image, {"seed": role.seed}


def _save(path: Path, array: NDArray[Any]) -> None:
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)


def _save_meta(path: Path, model: HeadModel, plan: GroupPlan, performance: Performance, rows: Sequence[Acted]) -> None:
    landmarks = np.stack([row.landmarks for row in rows])
    inside = ((landmarks >= 0) & (landmarks < plan.side)).all((2, 3))
    rotations = [performance.motion(index).rotation() for index in range(len(performance))]
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            landmarks=landmarks,
            depths=np.stack([row.depths for row in rows]),
            origins=np.stack([row.origins for row in rows]),
            pupils=np.stack([row.pupils for row in rows]),
            neutral=np.stack([row.neutral for row in rows]),
            head_pose=np.stack([row.poses for row in rows]),
            pose=performance.angles,
            rotation=np.array(rotations, np.float32),
            shift_scale=performance.place,
            expression=performance.expression,
            expression_names=np.array(model.names),
            motion_kind=np.array(performance.kind),
            clips=np.array(CLIPS),
            visible=inside.mean(1) > 0.95,
            visible_frames=inside,
            validation=np.array(plan.validation),
            schema=np.array(5),
        )
