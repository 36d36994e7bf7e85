"""`mien animate`: two files in, a video out.

The driver is read twice: once for its faces, which decide the crop, the reference frame and the alignment, and once
as the pictures the model sees. Neither pass holds more than a window of frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from mien.animation.driving import DriverTrack, control_frames, open_driver, place_driver, read_faces
from mien.animation.motion_transfer import MotionControl, check_control, driven_keypoints, portrait_keypoints
from mien.animation.multi_face import begun, composed, find_people, shared_reach
from mien.animation.source import Portrait, find_portrait, portrait_notes, read_portrait_image
from mien.animation.source_video import SourceVideo, first_portrait, open_source
from mien.errors import InputError
from mien.faces import FaceReader, TrackedFace, TrackReport, load_face_reader
from mien.jobs.models import load_pipeline
from mien.jobs.options import AnimateOptions, check_overlap
from mien.jobs.report import AnimateReport
from mien.jobs.run.fallbacks import within_means
from mien.jobs.run.frame_checkpoint import KeptFrames, resumed, run_key
from mien.jobs.run.output_lock import claimed
from mien.jobs.run.outputs import (
    IMAGE_SUFFIXES,
    check_start_clip,
    finished_frames,
    preview_frame,
    preview_path,
    resolve_output,
    start_frames,
)
from mien.jobs.run.progress import Progress, Silent, TimedProgress
from mien.jobs.run.provenance import Provenance, write_signed_image
from mien.jobs.run.record import write_record
from mien.jobs.run.request_digest import request_digest
from mien.media import Clip, VideoWriter, open_clip, part_of

if TYPE_CHECKING:
    from mien.pipelines.dex_portrait import DeXPortraitPipeline
    from mien.pipelines.x_portrait import XPortraitPipeline

Options = TypeVar("Options", bound=AnimateOptions)

FAST_DEFAULTS = {"num_inference_steps": 4, "guidance_scale": 1.0}


@dataclass(frozen=True)
class _Job:
    """Everything that is known once inputs, reader and model are loaded."""

    options: AnimateOptions
    output: Path
    clip: Clip
    start: Clip | None
    portraits: list[Portrait]
    reader: FaceReader
    pipe: XPortraitPipeline
    frames: int
    others: tuple[Portrait, ...] = ()  # further faces of the first picture, to be animated as well
    source: Clip | None = None  # a video in place of the first picture
    video: SourceVideo | None = None  # the same once it was read
    notes: tuple[str, ...] = ()
    told: list[str] = field(default_factory=list)  # what the run had to do otherwise
    request: str = ""
    work: Path = Path()  # where finished frames are kept meanwhile

    @property
    def portrait(self) -> Portrait:
        return self.portraits[0]

    @property
    def provenance(self) -> Provenance:
        return Provenance.of(self.options, self.request)

    @property
    def size(self) -> tuple[int, int]:
        return self.portrait.size if self.options.paste_back else (self.pipe.image_size,) * 2


def animate(
    options: AnimateOptions,
    progress: Progress | None = None,
    *,
    pipe: XPortraitPipeline | None = None,
    reader: FaceReader | None = None,
) -> AnimateReport:
    """Animate the portraits by the driver and write the result, its record and, if wanted, a preview.

    pipe, reader: ones that are loaded already, in place of those that the options name; they stay open. `fast` changes
    the sampler of such a pipe for this run alone; `lora` is not loaded into it.
    Files appear whole or not at all. Raises InputError, OutputError or WeightsError for what the user can mend.
    """
    timed = TimedProgress(progress or Silent())
    with ExitStack() as stack:
        job = _prepare(options, timed, pipe, reader, stack)
        if options.dry_run:
            _set_portraits(job, job.portraits)  # their number counts
            cost = job.pipe.cost(frames=job.frames, **_sampling(job.options))
            return AnimateReport(job.options, job.output, None, None, job.frames, job.size, cost=cost)
        request = request_digest(options)
        job = replace(job, request=request, work=stack.enter_context(claimed(job.output)))
        report = within_means(
            lambda resolved, used: _write(replace(job, options=resolved, pipe=used), timed),
            job.options,
            job.pipe,
            load=load_pipeline if pipe is None else None,
            note=job.told.append,
        )
        report = replace(report, shares=timed.shares(), warnings=(*report.warnings, *job.told))
        return replace(report, record=write_record(report, job.clip.info, request))


def _prepare(
    options: AnimateOptions,
    progress: Progress,
    pipe: XPortraitPipeline | None,
    reader: FaceReader | None,
    stack: ExitStack,
) -> _Job:
    """Load everything, cheap checks first, so that a misspelt name does not cost a minute."""
    progress.stage("Loading", None)
    clip = open_driver(options)
    output = resolve_output(options, clip.info.kind == "image")
    source, clip, notes = open_source(options, clip)
    notes += portrait_notes(options.portraits)
    images = [] if source else [read_portrait_image(path) for path in options.portraits]
    start = None if options.start_from is None else open_clip(options.start_from)
    if reader is None:
        reader = stack.enter_context(closing(load_face_reader(options.reader, options.reader_model)))
    portraits, others = _people(options, images, source, reader)
    frames = clip.count()
    if start is not None:
        check_start_clip(start, clip, portraits[0])
    if pipe is None:
        pipe = load_pipeline(options)
    elif options.fast:
        stack.callback(setattr, pipe, "scheduler", pipe.scheduler)
        pipe.use_few_steps()
    if pipe.reenactor is None:
        check_control(options)
    portraits, others = ([one.framed(pipe.crop_scale) for one in some] for some in (portraits, others))
    resolved = resolve_options(options, pipe, reader)
    return _Job(resolved, output, clip, start, portraits, reader, pipe, frames, tuple(others), source, notes=notes)


def _people(
    options: AnimateOptions, images: list[np.ndarray], source: Clip | None, reader: FaceReader
) -> tuple[list[Portrait], list[Portrait]]:
    """The portraits of the first person, and the other people who are animated as well."""
    if source is not None:
        return [first_portrait(source, reader, options.face_number)], []
    if options.face == "all":
        first, *others = find_people(options.portraits[0], images[0], reader)
        return [first], others
    numbers = [options.face_number] + [None] * len(images)
    found = zip(options.portraits, images, numbers, strict=False)
    return [find_portrait(path, image, reader, number) for path, image, number in found], []


def resolve_options(options: Options, pipe: XPortraitPipeline | DeXPortraitPipeline, reader: FaceReader) -> Options:
    """The same options with every default of the model, the device and the reader filled in."""
    defaults = dict(pipe.default_options)
    if options.fast:
        defaults |= {**FAST_DEFAULTS, **defaults.get("fast", {})}
    window = defaults["window"] if options.window is None else options.window
    # A smaller window that was asked for must not fall over the model's own overlap.
    overlap = min(defaults["overlap"], window - 1) if options.overlap is None else options.overlap
    check_overlap(window, overlap)
    longest = window if pipe.temporal is None else pipe.temporal.config.positions
    if window > longest:
        raise InputError(f"--window is {window}, but {options.model} knows windows of at most {longest} frames")
    return replace(
        options,
        steps=defaults["num_inference_steps"] if options.steps is None else options.steps,
        guidance=defaults["guidance_scale"] if options.guidance is None else options.guidance,
        window=window,
        overlap=overlap,
        device=str(pipe.device),
        dtype=str(pipe.unet.dtype).removeprefix("torch."),  # DeX-Portrait's encoders stay in float32
        reader=reader.name,
    )


def _sampling(options: AnimateOptions) -> dict[str, Any]:
    return {
        "num_inference_steps": options.steps,
        "guidance_scale": options.guidance,
        "window": options.window,
        "overlap": options.overlap,
    }


def _wants_image(job: _Job) -> bool:
    return job.output.suffix.lower() in IMAGE_SUFFIXES


def _write(job: _Job, progress: Progress) -> AnimateReport:
    return _write_image(job, progress) if _wants_image(job) else _write_video(job, progress)


def _write_image(job: _Job, progress: Progress) -> AnimateReport:
    track = _track(job, job.portrait, *read_faces(job.clip, job.reader, progress))
    frame = next(_frames(job, track, progress))
    write_signed_image(job.output, frame, job.provenance, job.options.watermark)
    preview = None
    if job.options.preview:
        preview = preview_path(job.output)
        panels = preview_frame(next(iter(job.clip)), job.portrait.image, frame)
        write_signed_image(preview, panels, job.provenance, job.options.watermark)
    return _report(job, track, preview, [])


def _write_video(job: _Job, progress: Progress) -> AnimateReport:
    preview = preview_path(job.output) if job.options.preview else None
    with ExitStack() as stack:
        # Opened before the work begins: what cannot be written is known at once.
        writer = stack.enter_context(_writer(job, job.output, job.size))
        job = _with_video(job, progress)
        track = _track(job, job.portrait, *read_faces(job.clip, job.reader, progress))
        # a damaged clip may give fewer frames than its index promises
        job = replace(job, frames=len(track.faces))
        writer.timestamps, times = job.clip.info.variable_rate, _times(job.clip)
        side_by_side = None
        drivers = iter(job.clip)
        for frame in _frames(job, track, progress):
            time = next(times)
            writer.write(frame, time)
            if preview is not None:
                panels = preview_frame(next(drivers), job.portrait.image, frame)
                if side_by_side is None:
                    side_by_side = stack.enter_context(_writer(job, preview, (panels.shape[1], panels.shape[0])))
                side_by_side.write(panels, time)
        if writer.frames != job.frames:
            raise RuntimeError(f"the pipeline gave {writer.frames} frames for {job.frames}")
    return _report(job, track, preview, writer.warnings)


def _with_video(job: _Job, progress: Progress) -> _Job:
    """The job with its source video read, if it has one."""
    if job.source is None:
        return job
    video = SourceVideo.read(job.source, job.portrait, job.reader, job.pipe.crop_scale, progress)
    # a damaged video may give fewer frames than its index promises
    clip = part_of(job.clip, end=len(video.crops) / job.clip.info.rate)
    return replace(job, video=video, clip=clip)


def _track(job: _Job, portrait: Portrait, faces: list[TrackedFace], report: TrackReport) -> DriverTrack:
    """The driver's faces, laid over those of a portrait."""
    return place_driver(
        faces,
        report,
        job.clip,
        portrait,
        best_frame=job.options.best_frame,
        align=job.options.align,
        scale=job.pipe.crop_scale,
        reach=job.pipe.reach,
    )


def _set_portraits(job: _Job, portraits: list[Portrait]) -> None:
    squares = [portrait.square(job.pipe.image_size) for portrait in portraits]
    reenactor = job.pipe.reenactor
    keypoints = None if reenactor is None else portrait_keypoints(portraits[0], reenactor.basis())
    job.pipe.set_portrait(squares, keypoints=keypoints)


def _frames(job: _Job, track: DriverTrack, progress: Progress) -> Iterator[np.ndarray]:
    """The frames to write, as the pipeline finishes them."""
    progress.stage("Animating", 1.0)
    if job.others:
        people = [job.portrait, *job.others]
        tracks = [track, *(_track(job, person, track.faces, track.report) for person in job.others)]
        reaches = shared_reach(progress.reach, len(people))
        # one after the other, for the pipeline holds one portrait at a time
        runs = [begun(_squares(job, [p], t, r)) for p, t, r in zip(people, tracks, reaches, strict=True)]
        return composed(people, runs)
    squares = _squares(job, job.portraits, track, progress.reach)
    if job.video is not None:
        return job.video.finished(squares, job.options.paste_back)
    return finished_frames(squares, job.portrait, job.options.paste_back)


def _squares(
    job: _Job, portraits: list[Portrait], track: DriverTrack, reach: Callable[[float], None]
) -> Iterator[np.ndarray]:
    """One person's squares."""
    side, pipe, portrait = job.pipe.image_size, job.pipe, portraits[0]
    _set_portraits(job, portraits)
    whole, local = control_frames(job.clip, track, side)
    control = MotionControl.of(job.options, job.clip.info.rate)
    begin: Iterator[Any] | None = None
    driven = None
    if job.start is not None:
        begin = start_frames(job.start, portrait, side)
    elif pipe.reenactor is not None and job.video is not None:
        begin = job.video.reenacted(pipe.reenactor, portrait, track, control)
    elif pipe.reenactor is not None:
        driven = driven_keypoints(portrait, track, pipe.reenactor.basis(), control)
    kept = KeptFrames(job.work / run_key(job.request, job.options, str(portrait.crop)), job.told.append)
    squares = pipe.stream(
        whole,
        local,
        **_sampling(job.options),
        # Drawn on the CPU, so that a seed means the same on every device.
        generator=torch.Generator("cpu").manual_seed(job.options.seed),
        start_frames=begin,
        driven=driven,
        count=job.frames,
        progress=reach,
        keeper=kept,
        note=job.told.append,
    )
    return resumed(kept, squares)


def _times(clip: Clip) -> Iterator[Fraction]:
    """The frames' times on the clock of the file, once the clip was read: damage and lost frames leave gaps."""
    return (clip.start + moment for moment in clip.moments())


def _writer(job: _Job, path: Path, size: tuple[int, int]) -> VideoWriter:
    info = job.clip.info
    return VideoWriter(
        path,
        rate=info.rate,
        size=size,
        audio_from=info.path if info.has_audio else None,
        audio_start=job.clip.start,
        timestamps=info.variable_rate,
        metadata={"comment": job.provenance.comment()},
        watermark=job.options.watermark,
    )


def _report(job: _Job, track: DriverTrack, preview: Path | None, warnings: list[str]) -> AnimateReport:
    return AnimateReport(
        options=job.options,
        output=job.output,
        preview=preview,
        record=None,
        frames=job.frames,
        size=job.size,
        faces=track.report,
        best_frame=track.best_frame,
        warnings=(*job.notes, *job.clip.warnings, *warnings),
    )
