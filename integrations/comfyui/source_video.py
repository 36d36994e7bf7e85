"""A video as the source: every frame of it is animated, and background and body stay its own."""

from __future__ import annotations

from torch import Tensor

from mien.animation.motion_transfer import TransferSettings
from mien.errors import InputError
from mien.media.watermark import marked

from . import host
from .images import BatchClip, batch_of
from .motion import Sampling, tell_faceless
from .session import Model

_READING, _ANIMATING = 0.15, 0.7


def animate_video(
    model: Model,
    source: Tensor,
    driver: Tensor,
    sampling: Sampling,
    face: int,
    best_frame: int | str,
    control: TransferSettings,
    watermark: bool,
) -> Tensor:
    """The source's frames [n, h, w, 3], its face moved by the driver's, frame for frame; n: of the shorter one.

    face: which one of the source's first frame that has it, the largest is 0. Raises InputError for models that do not
    move by read landmarks, and if source or driver shows no face or is a single picture.
    """
    if model.dex is not None or model.pipe.face_basis is None:
        raise InputError("a source video needs a model that moves by read landmarks, such as nano: load nano")
    clips = [BatchClip(source, "source"), BatchClip(driver, "driver")]
    for clip in clips:
        if clip.info.kind == "image":
            raise InputError(f"{clip.info.path} is a single picture: connect a video's frames")
    count = min(clip.count() for clip in clips)
    if clips[0].count() != clips[1].count():
        host.tell(
            f"source has {clips[0].count()} frames and the driving video {clips[1].count()}: the result is as long as"
            " the shorter"
        )
    source_clip, driver_clip = BatchClip(source[:count], "source"), BatchClip(driver[:count], "driver", control.rate)
    progress = host.NodeProgress(_READING, _READING, _ANIMATING)
    model.ready()
    model.now = None  # the model is given another portrait than Set Portrait's
    animator = model.animator
    animator.set_source_video(source_clip, face=face)
    config = sampling.config(control, best_frame=best_frame, paste_back=True)
    motion = animator.read_driving(driver_clip, config, progress)
    for name, report in motion.reports.items():
        tell_faceless(report, name)
    pasted = animator.frames(motion, config, progress=progress, note=progress.note)
    frames = (marked(frame) if watermark else frame for frame in pasted)
    return batch_of(progress.frames(frames, count), count)
