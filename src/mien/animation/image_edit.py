"""`mien edit`: a still whose face is put into any pose and expression by the reenactor, in one pass."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.animation.face_edit import FaceChange
from mien.animation.motion_transfer import own_face, portrait_motion
from mien.animation.source import Portrait, find_portrait, picture_info, portrait_notes, read_portrait_image
from mien.errors import InputError
from mien.faces import FaceReader, load_face_reader
from mien.jobs.animate import resolve_options
from mien.jobs.models import load_pipeline
from mien.jobs.options import AnimateOptions, check_number
from mien.jobs.report import AnimateReport
from mien.jobs.run.outputs import finished_frames, resolve_output
from mien.jobs.run.progress import Progress, Silent, TimedProgress
from mien.jobs.run.provenance import Provenance, write_signed_image
from mien.jobs.run.record import write_record
from mien.jobs.run.request_digest import request_digest
from mien.models.reenactor import Reenactor
from mien.motion.keypoint_motion import KeypointMotion
from mien.pipelines.pictures import to_pixels, to_uint8
from mien.pipelines.reenactment import Reenactment
from mien.pipelines.x_portrait import XPortraitPipeline


@dataclass(frozen=True)
class StillOptions(AnimateOptions):
    """`AnimateOptions` for a still, and what changes in it. Make them with `still_options`.

    expression_from: a picture of a face whose expression is taken over before `change`; expression_gain: how much of
    it, 0 to 1.
    """

    change: FaceChange = field(default_factory=FaceChange)
    expression_from: Path | None = None
    expression_gain: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("--expression-gain", self.expression_gain, 0, 1)
        if self.face == "all":
            raise InputError("--face all is for mien animate: name one face by its number, 0 is the largest")


def still_options(
    *, portrait: Path, output: Path, change: FaceChange, expression_from: Path | None = None, **more: Any
) -> StillOptions:
    """Options of an edit. Raises InputError if nothing is to change."""
    if expression_from is None and change.is_nothing:
        raise InputError("nothing is to change: give --yaw, --smile or another of the sliders (see mien edit --help)")
    return StillOptions(
        portraits=(portrait,),
        driver=expression_from or portrait,
        output=output,
        change=change,
        expression_from=expression_from,
        **more,
    )


class StillEditor:
    """One portrait, encoded once, to be shown with any change."""

    def __init__(self, pipe: XPortraitPipeline, portrait: Portrait) -> None:
        """Raises InputError if the model has no reenactor."""
        reenactor = reenactor_of(pipe)
        self.portrait = portrait.framed(pipe.crop_scale)
        side = pipe.image_size
        self._keypoints = KeypointMotion(reenactor.basis(), portrait_motion(self.portrait))
        self._own = own_face(self._keypoints)
        source = to_pixels([self.portrait.square(side)], side)
        self._reenactment = Reenactment(reenactor, source, self._keypoints.keypoints)

    def square(self, change: FaceChange, expression: NDArray[np.floating] | None = None) -> NDArray[np.uint8]:
        """The portrait's square [s, s, 3], changed; expression: scores [52] to start from, None: the portrait's own."""
        scores = change.expressed(self._own.scores if expression is None else expression)
        driven = self._keypoints.posed(change.moved(self._own.pose), scores, self._own.extra)
        return to_uint8(self._reenactment.picture(driven)[None])[0]

    def picture(self, change: FaceChange, expression: NDArray[np.floating] | None = None) -> NDArray[np.uint8]:
        """The whole portrait, changed as `square` says; the portrait itself where nothing changes."""
        if expression is None and change.is_nothing:
            return self.portrait.image
        return next(finished_frames([self.square(change, expression)], self.portrait, True))

    def mixed(self, other: NDArray[np.floating], gain: float) -> NDArray[np.float64]:
        """Scores [52] from the portrait's own (gain 0) to another face's (gain 1)."""
        return self._own.scores + gain * (np.asarray(other, np.float64) - self._own.scores)


def reenactor_of(pipe: XPortraitPipeline) -> Reenactor:
    """The model's reenactor; InputError if it has none."""
    reenactor = pipe.reenactor
    if reenactor is None:
        raise InputError("this model has no reenactor, which edits stills: use --model nano, or --system dex")
    return reenactor


def edit_still(
    options: StillOptions,
    progress: Progress | None = None,
    *,
    pipe: XPortraitPipeline | None = None,
    reader: FaceReader | None = None,
) -> AnimateReport:
    """Write the changed portrait and its record. Raises InputError, OutputError or WeightsError.

    pipe, reader: ones that are loaded already; they stay open.
    """
    timed = TimedProgress(progress or Silent())
    timed.stage("Loading", None)
    path = options.portraits[0]
    image = read_portrait_image(path)
    output, request = resolve_output(options, True), request_digest(options)
    with ExitStack() as stack:
        if reader is None:
            reader = stack.enter_context(closing(load_face_reader(options.reader, options.reader_model)))
        portrait = find_portrait(path, image, reader, options.face if isinstance(options.face, int) else None)
        expression = None
        if options.expression_from is not None:
            other = options.expression_from
            expression = find_portrait(other, read_portrait_image(other), reader, None).reading.expression
        pipe = pipe or load_pipeline(options)
        options = resolve_options(options, pipe, reader)
    editor = StillEditor(pipe, portrait)
    scores = None if expression is None else editor.mixed(expression, options.expression_gain)
    timed.stage("Editing", 1.0)
    square = editor.square(options.change, scores)
    (frame,) = finished_frames([square], editor.portrait, options.paste_back)
    write_signed_image(output, frame, Provenance.of(options, request), options.watermark)
    timed.reach(1.0)
    size, notes = (frame.shape[1], frame.shape[0]), portrait_notes(options.portraits)
    report = AnimateReport(options, output, None, None, 1, size, shares=timed.shares(), warnings=notes)
    return replace(report, record=write_record(report, picture_info(path, image), request))
