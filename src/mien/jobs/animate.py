"""`mien animate`: files in, a video out, by whatever model.

The driving video is read twice by models that look at its pixels: once for its faces, which decide crop, best frame and
alignment, and once as the pictures that the model sees. Neither pass holds more than a window of frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice, repeat
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from diffusers import LCMScheduler

from mien import faces
from mien.animation.animator import Animator, animator_kind, animator_of
from mien.animation.compositing import check_start_clip
from mien.animation.driving import open_driver
from mien.animation.driving_motion import Driver, Drivers, DrivingMotion, length
from mien.animation.expression_list import ExpressionList, load_list
from mien.animation.loading import choose_device, load_pipeline, system_of
from mien.animation.motion_template import is_template, load_template
from mien.animation.multi_face import find_people
from mien.animation.progress import Progress, Silent
from mien.animation.source import Source, is_video, portrait_notes, read_portrait_image
from mien.animation.source_video import matched
from mien.errors import InputError
from mien.faces import FaceReader
from mien.jobs.options import AnimateOptions
from mien.jobs.report import AnimateReport
from mien.jobs.run.fallbacks import OFFLOADED, next_attempt, next_offload
from mien.jobs.run.frame_checkpoint import FrameCheckpoint, run_key
from mien.jobs.run.output_lock import output_lock
from mien.jobs.run.outputs import IMAGE_SUFFIXES, preview_frame, preview_path, resolve_output
from mien.jobs.run.progress import TimedProgress
from mien.jobs.run.provenance import Provenance, write_signed_image
from mien.jobs.run.record import write_record
from mien.jobs.run.request_digest import request_digest
from mien.media import Clip, ClipInfo, VideoWriter, evened, open_clip
from mien.pipelines.finishing import NotFinite, is_out_of_memory, release_memory
from mien.pipelines.placement import check_placement, offloading

Options = TypeVar("Options", bound=AnimateOptions)
FAST_ALONE = (
    "--fast without --lora: the LCM sampler in few steps without guidance, for which this model's weights were not"
    " made, so frames will be soft; name LCM weights by --lora FILE, or try --steps 8 without --fast"
)


@dataclass(frozen=True)
class _Job:
    """Everything that is known once inputs, reader and model are loaded."""

    options: AnimateOptions
    output: Path
    driver: Driver | Drivers | ExpressionList
    clip: Clip | None  # its pictures, if it has any
    start: Clip | None
    animator: Animator
    request: str
    notes: tuple[str, ...] = ()
    warnings: list[str] = field(default_factory=list)  # what the run had to do otherwise
    work: Path = Path()  # where finished frames are kept meanwhile

    @property
    def info(self) -> ClipInfo:
        """What is known of the main driving video by now: reading a clip makes it certain."""
        return (self.driver.main if isinstance(self.driver, Drivers) else self.driver).info

    @property
    def provenance(self) -> Provenance:
        return Provenance.of(self.options, self.animator.system, self.request)

    @property
    def portrait(self) -> np.ndarray:
        return self.animator.source.portraits[0].image


def animate(
    options: AnimateOptions,
    progress: Progress | None = None,
    *,
    pipe: Any = None,
    reader: FaceReader | None = None,
) -> AnimateReport:
    """Animate a portrait by a driving video and write the result, its record and, if wanted, a preview.

    Args:
        options: what, by what, and how.
        progress: told what is being done.
        pipe: a pipeline that is loaded already, in place of the one that the options name; it stays open. `fast`
            changes its sampler for this run alone; `lora` is not loaded into it.
        reader: a face reader that is loaded already; it stays open.

    Returns:
        What was done; files appear whole or not at all.

    Raises:
        InputError: for what the user can fix, as OutputError and WeightsError.
    """
    timed = TimedProgress(progress or Silent())
    with ExitStack() as stack:
        job = _prepare(options, timed, pipe, reader, stack)
        if job.options.dry_run:
            frames = _frames_of(job.driver)
            cost = job.animator.cost(frames, job.options)
            return AnimateReport(job.options, job.output, None, None, frames, job.animator.size(job.options), cost=cost)
        job = replace(job, work=stack.enter_context(output_lock(job.output)))
        write = _write_image if job.output.suffix.lower() in IMAGE_SUFFIXES else _write_video
        note = job.warnings.append
        load = None if pipe is not None else lambda resolved: _loaded(resolved, job.animator.reader, note)
        while True:
            try:
                report = write(job, timed)
                break
            except (NotFinite, MemoryError, RuntimeError) as error:
                resolved, animator = next_attempt(error, job.options, job.animator, load, note)
                job = replace(job, options=resolved, animator=animator)
            release_memory()  # here, where the error no longer holds what it was raised over
        warnings = (*report.warnings, *job.warnings)
        report = replace(report, stage_time_fractions=timed.stage_time_fractions(), warnings=warnings)
        return replace(report, record=write_record(report, job.info, job.request))


# -- loading ---------------------------------------------------------------------------------------------------------


def _prepare(
    options: AnimateOptions, progress: Progress, pipe: Any, reader: FaceReader | None, stack: ExitStack
) -> _Job:
    """Load everything, cheap checks first, so that a misspelt name does not cost a minute."""
    progress.stage("Loading", None)
    request = request_digest(options)
    system = system_of(options.model) if pipe is None else animator_of(pipe, None).system  # type: ignore[arg-type]
    if system is not None:
        animator_kind(system).check(options, options.model)
    if pipe is None:
        check_placement(choose_device(options.device), options.offload, options.quantize)
    listed = None if options.expressions is None else load_list(options.expressions, options.fps)
    options = options if listed is not None else _with_drivers(options, system)
    clips = {} if listed is not None else _open_drivers(options)
    output = (
        None if options.driver not in clips else resolve_output(options, clips[options.driver].info.kind == "image")
    )
    moving = next((path for path in options.portraits if is_video(path)), None)
    source, notes = None if moving is None else open_clip(moving), [*portrait_notes(options.portraits)]
    if moving is not None and listed is not None:
        raise InputError(f"{moving} is a video, but --expressions moves a picture: give a picture as the source")
    if moving is not None and source is not None:
        _goes_alone(options, moving)
        source, clips[options.driver], more = matched(source, clips[options.driver])
        notes += more
    images = [] if source else [read_portrait_image(path) for path in options.portraits]
    start = None if options.start_from is None else open_clip(options.start_from)
    if options.preview and options.driver not in clips:
        raise InputError(f"--preview shows the driving video, but {options.driver} holds motion only: leave it out")
    if reader is None:
        reader = stack.enter_context(closing(faces.load_face_reader(options.reader, options.reader_model)))
    animator = _loaded(options, reader, notes.append) if pipe is None else animator_of(pipe, reader)
    if pipe is not None and options.fast and hasattr(pipe, "use_few_steps"):
        stack.callback(setattr, pipe, "scheduler", pipe.scheduler)
        pipe.use_few_steps()
    animator.check(options, options.model)
    if options.fast and options.lora is None and isinstance(getattr(animator.pipe, "scheduler", None), LCMScheduler):
        notes.append(FAST_ALONE)
    driver: Driver | Drivers | ExpressionList
    options, driver = _drivers(options, clips, animator) if listed is None else (options, listed)
    _set_source(options, images, source, animator)
    animator.check_config(options)
    if start is not None:
        check_start_clip(start, clips[options.driver], animator.source.portraits[0])
    output = output or resolve_output(options, _is_still(driver))
    main = driver.main if isinstance(driver, Drivers) else driver
    clip = main if isinstance(main, Clip) else None
    resolved = resolve_options(options, animator)
    return _Job(resolved, output, driver, clip, start, animator, request, tuple(notes))


def _loaded(options: AnimateOptions, reader: FaceReader, note: Callable[[str], None]) -> Animator:
    """The animator that options name, offloaded where it does not fit as it is; without weights for a dry run."""
    asked = ("device", "dtype", "fast", "lora", "offload", "quantize")
    while True:
        given = {name: getattr(options, name) for name in asked}
        try:
            return animator_of(load_pipeline(options.model, **given, empty=options.dry_run), reader)
        except (MemoryError, RuntimeError) as error:
            offload = next_offload(options)
            if not is_out_of_memory(error) or offload is None:
                raise
            options = replace(options, offload=offload)
        release_memory()  # here, where the error no longer holds what it was raised over
        note(OFFLOADED.format(offload=offload))


def _with_drivers(options: AnimateOptions, system: str | None) -> AnimateOptions:
    """For a system that takes pose and expression apart: each one's driving video named, and the main one."""
    if system != "dex":
        return options
    apart: dict[str, Any] = {"pose_from": options.pose_driver, "expression_from": options.expression_driver}
    return replace(options, driver=options.main_driver, **apart)


def _open_drivers(options: AnimateOptions) -> dict[Path, Clip]:
    paths = [options.driver, options.pose_from, options.expression_from]
    clips = {
        path: open_driver(path, start=options.start, end=options.end, fps=options.fps)
        for path in dict.fromkeys(path for path in paths if path is not None)
        if not is_template(path)
    }
    apart = {options.pose_driver, options.expression_driver} - {None}
    if len(apart) > 1:  # frames of two drivers are matched by their numbers
        return {path: evened(clip) for path, clip in clips.items()}
    return clips


def _drivers(
    options: AnimateOptions, clips: dict[Path, Clip], animator: Animator
) -> tuple[AnimateOptions, Driver | Drivers]:
    """What the animator reads, and the options with the main driving video's name."""
    if options.pose_driver == options.expression_driver == options.driver and options.driver in clips:
        return options, clips[options.driver]
    pipe, found = animator.pipe, dict[Path, Driver](clips)
    for path in (options.pose_driver, options.expression_driver):
        if path is not None and path not in found:
            found[path] = load_template(path, pipe.encoder_id, pipe.expression_encoder.config.code)
    pose, expression = (
        None if path is None else found[path] for path in (options.pose_driver, options.expression_driver)
    )
    drivers = Drivers(pose, expression)
    name = next(path for path, driver in found.items() if driver is drivers.main)
    return replace(options, driver=name), drivers


def _is_still(driver: Driver | Drivers | ExpressionList) -> bool:
    main = driver.main if isinstance(driver, Drivers) else driver
    return _frames_of(driver) == 1 and main.info.kind == "image"


def _frames_of(driver: Driver | Drivers | ExpressionList) -> int:
    if isinstance(driver, ExpressionList):
        return len(driver)
    return length(driver.main if isinstance(driver, Drivers) else driver)


def _motion(job: _Job, progress: Progress) -> DrivingMotion:
    if isinstance(job.driver, ExpressionList):
        return job.animator.read_list(job.driver)
    return job.animator.read_driving(job.driver, job.options, progress)


def _goes_alone(options: AnimateOptions, video: Path) -> None:
    """Raise InputError for options that a source video has no use for."""
    for name, given in {
        "another portrait": len(options.portraits) > 1,
        "--start-from": options.start_from is not None,
        "--face all": options.face == "all",
    }.items():
        if given:
            raise InputError(f"{video} is a video and goes alone: leave {name} out")


def _set_source(options: AnimateOptions, images: list[np.ndarray], video: Clip | None, animator: Animator) -> None:
    """Give the animator whom the options name."""
    encode = not options.dry_run
    if video is not None:
        animator.set_source_video(video, face=options.face_number, encode=encode)
    elif options.face == "all":
        scale = animator.pipe.crop_scale
        people = [p.framed(scale) for p in find_people(options.portraits[0], images[0], animator.reader)]
        animator.set_source(Source((people[0],), others=tuple(people[1:])), encode=encode)
    else:
        animator.set_source(images, face=options.face_number, names=options.portraits, encode=encode)


def resolve_options(options: Options, animator: Animator) -> Options:
    """The same options with every default of the model, the device and the reader filled in.

    Args:
        options: as they were given.
        animator: of the model that they name.

    Returns:
        What the record keeps.
    """
    pipe = animator.pipe
    empty = pipe.device.type == "meta"
    return replace(
        animator.resolved(options, fast=options.fast),
        device=str(choose_device(options.device) if empty else pipe._execution_device),
        offload=options.offload if empty else offloading(pipe),
        # DeX-Portrait's encoders stay in float32
        dtype=str(getattr(pipe, "unet", pipe).dtype).removeprefix("torch."),
        reader=animator.reader.name,
    )


# -- writing ---------------------------------------------------------------------------------------------------------


def _frames(job: _Job, motion: DrivingMotion, progress: Progress) -> Iterator[np.ndarray]:
    return job.animator.frames(
        motion,
        job.options,
        progress=progress,
        start_from=job.start,
        checkpoint=lambda person: FrameCheckpoint(
            job.work / run_key(job.request, job.options, str(person.crop)), job.warnings.append
        ),
        note=job.warnings.append,
    )


def _write_image(job: _Job, progress: Progress) -> AnimateReport:
    motion = _motion(job, progress)
    frame = next(_frames(job, motion, progress))
    write_signed_image(job.output, frame, job.provenance, job.options.watermark)
    preview = None
    if job.options.preview and job.clip is not None:
        preview = preview_path(job.output)
        panels = preview_frame(next(iter(job.clip)), job.portrait, frame)
        write_signed_image(preview, panels, job.provenance, job.options.watermark)
    return _report(job, motion, preview, [])


def _write_video(job: _Job, progress: Progress) -> AnimateReport:
    preview = preview_path(job.output) if job.options.preview else None
    with ExitStack() as stack:
        # Opened before the work begins: what cannot be written is known at once.
        writer = stack.enter_context(_writer(job, job.output, job.animator.size(job.options)))
        motion = _motion(job, progress)
        times = _times(motion.clip)
        writer.timestamps = motion.clip is not None and motion.clip.info.variable_rate
        side_by_side = None
        drivers = iter(motion.clip or ())
        for frame in _frames(job, motion, progress):
            time = next(times)
            writer.write(frame, time)
            if preview is not None:
                panels = preview_frame(next(drivers), job.portrait, frame)
                if side_by_side is None:
                    side_by_side = stack.enter_context(_writer(job, preview, (panels.shape[1], panels.shape[0])))
                side_by_side.write(panels, time)
        if writer.frames != motion.frames:
            raise RuntimeError(f"the pipeline gave {writer.frames} frames for {motion.frames}")
    return _report(job, motion, preview, writer.warnings)


def _times(clip: Clip | None) -> Iterator[Fraction | None]:
    """The frames' times on the clock of the file, once the clip was read: damage and lost frames leave gaps.

    None for motion that has only a rate.
    """
    return repeat(None) if clip is None else (clip.start + moment for moment in clip.moments())


def _writer(job: _Job, path: Path, size: tuple[int, int]) -> VideoWriter:
    info = job.info
    return VideoWriter(
        path,
        rate=info.rate,
        size=size,
        audio_from=info.path if info.has_audio else None,
        audio_start=Fraction(0) if job.clip is None else job.clip.start,
        timestamps=info.variable_rate,
        metadata={"comment": job.provenance.comment()},
        watermark=job.options.watermark,
    )


def _report(job: _Job, motion: DrivingMotion, preview: Path | None, warnings: list[str]) -> AnimateReport:
    drivers = [job.driver.pose, job.driver.expression] if isinstance(job.driver, Drivers) else [job.driver]
    seen = [text for one in dict.fromkeys(drivers) if isinstance(one, Clip) for text in one.warnings]
    return AnimateReport(
        options=job.options,
        output=job.output,
        preview=preview,
        record=None,
        frames=motion.frames,
        size=job.animator.size(job.options),
        faces=motion.report,
        best_frame=motion.best_frame,
        warnings=(*job.notes, *islice(seen, 20), *warnings),
    )
