"""Samples from rendered groups: everyone in a group performs the same motions, and landmarks and poses are exact."""

from __future__ import annotations

import numpy as np

from mien.avatars.group_files import GroupFolder, RenderedGroup
from mien.training.data.samples import FaceFrame, SampleSpec, SourceDrivingSample, choose_motions

_PHOTO = 0.35  # chance of a photograph in the source's place


class AvatarClips(GroupFolder):
    """`SampleSource` over the groups of a folder; groups that appear later are found by `refresh`."""

    def at_step(self, step: int) -> None:
        """Every step draws from all groups.

        Args:
            step: has no influence.
        """

    def sample(self, rng: np.random.Generator, spec: SampleSpec) -> SourceDrivingSample:
        """One person's source and targets, and others in the same motions.

        Args:
            rng: of everything random.
            spec: what a sample is to be.

        Returns:
            Frames with their ground truth.
        """
        group = self.choose(rng)
        person, driver = int(rng.integers(group.people)), int(rng.integers(group.people))
        start, motions = choose_motions(rng, group.motions, spec)
        mean = group.landmarks.mean(1)  # everyone's place and size, the same motions averaged
        photo = np.array(group.sources[person]) if spec.photo and rng.random() < _PHOTO else None
        source, *targets = [_frame(group, person, motion) for motion in (start, *motions)]
        if not spec.drivers:
            return SourceDrivingSample(source, targets, mean[person], photo=photo)
        shown = [_elsewhere(group, motion) for motion in motions] if spec.elsewhere and not spec.clip else motions
        drivers = [driver if spec.clip else int(rng.integers(group.people)) for _ in motions]
        return SourceDrivingSample(
            source,
            targets,
            mean[person],
            [_frame(group, other, motion) for other, motion in zip(drivers, shown, strict=True)],
            [mean[other] for other in drivers],
            photo=photo,
            other=np.array(group.frames[driver, start]),
        )


def _elsewhere(group: RenderedGroup, motion: int) -> int:
    """The motion with the same expression under another pose; the same one where there is none."""
    expression = group.meta.get("expression")
    if expression is None:
        return motion
    same = np.flatnonzero((expression == expression[motion]).all(1))
    return next((int(other) for other in same if other != motion), motion)


def _frame(group: RenderedGroup, person: int, motion: int) -> FaceFrame:
    poses, pupils, neutral = (group.meta.get(name) for name in ("head_pose", "pupils", "neutral"))
    return FaceFrame(
        np.array(group.frames[person, motion]),
        group.landmarks[person, motion],
        None if poses is None else poses[person, motion],
        None if pupils is None else pupils[person, motion, :, :2],
        None if neutral is None else neutral[person, motion],
    )
