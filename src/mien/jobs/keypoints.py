"""Where the portrait's landmarks go in every frame of a driver: what a model with a reenactor starts from."""

from __future__ import annotations

from mien.geometry.keypoint_motion import FaceBasis, FaceMotion, Floats, KeypointMotion, smoothed_motion
from mien.jobs.driver import DriverTrack
from mien.jobs.portrait import Portrait


def portrait_motion(portrait: Portrait) -> FaceMotion:
    """The portrait's own face in its square."""
    return FaceMotion.read(portrait.landmarks, portrait.reading.pose.rotation, portrait.reading.expression)


def driver_motions(portrait: Portrait, track: DriverTrack) -> list[FaceMotion]:
    """The driver's face in every aligned square; a frame without one keeps the motion of the frame before."""
    last, motions = portrait_motion(portrait), []
    for face in track.faces:
        if face.reading is not None:
            landmarks = track.crop.points_in(face.reading.landmarks, 1)
            matrix = track.placement(landmarks)
            if matrix is not None:
                landmarks = landmarks @ matrix[:, :2].T + matrix[:, 2]
            last = FaceMotion.read(landmarks, face.reading.pose.rotation, face.reading.expression)
        motions.append(last)
    return motions


def driven_landmarks(portrait: Portrait, track: DriverTrack, basis: FaceBasis) -> list[Floats]:
    """The portrait's landmarks [68, 2], half sides of its square, in the driver's every pose and expression."""
    keypoints = KeypointMotion(basis, portrait_motion(portrait))
    motions = smoothed_motion(driver_motions(portrait, track))
    reference = None if track.best_frame is None or track.matrix is None else motions[track.best_frame]
    return [keypoints.driven(motion, reference) for motion in motions]
