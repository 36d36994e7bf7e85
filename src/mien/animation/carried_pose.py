"""Poses of a portrait whose own pose a face reader tells, by an encoder that measures differences."""

from __future__ import annotations

import numpy as np

from mien.geometry import HeadPose
from mien.geometry.pose import rotation_matrix, rotation_vector
from mien.motion.motion_limits import shown_pose
from mien.pipelines.dex_portrait_denoiser import Driven


def carried(own: HeadPose, driven: Driven, index: int) -> HeadPose:
    """A driven pose, as the encoder measures it, of a portrait whose own pose a face reader tells.

    It is held where the portrait would show what its picture does not, see `shown_pose`.

    Args:
        own: the portrait's pose as it was read.
        driven: poses by the encoder, the portrait's own among them.
        index: of the frame.

    Returns:
        `own` where the encoder sees no difference.
    """
    turn = (driven.pose.rotation[index] @ driven.source_pose.rotation[0].T).double().cpu().numpy()
    way = (driven.pose.translation[index] - driven.source_pose.translation[0]).double().cpu().numpy()
    zoom = float(driven.pose.scale[index] / driven.source_pose.scale[0])
    rotation = rotation_vector(turn @ rotation_matrix(own.rotation))
    return shown_pose(HeadPose(rotation, np.asarray(own.translation) + way, own.scale * zoom), own)
