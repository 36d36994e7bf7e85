"""`mien animate --system dex`: head pose and expression apart, each from a driver of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import chain, islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mien.animation.driving import open_driver
from mien.animation.source import Portrait, find_portrait, portrait_notes, read_portrait_image
from mien.errors import InputError
from mien.faces import FaceReader, TrackReport, load_face_reader
from mien.jobs.animate import resolve_options
from mien.jobs.models import load_dex_pipeline
from mien.jobs.motion import is_template, load_template, read_clip_motion
from mien.jobs.options import GAINS, MOST_GAIN, AnimateOptions, check_number
from mien.jobs.report import AnimateReport
from mien.jobs.run.fallbacks import within_means
from mien.jobs.run.frame_checkpoint import KeptFrames, resumed, run_key
from mien.jobs.run.output_lock import claimed
from mien.jobs.run.outputs import IMAGE_SUFFIXES, finished_frames, preview_frame, preview_path, resolve_output
from mien.jobs.run.progress import Progress, Silent, TimedProgress
from mien.jobs.run.provenance import Provenance, write_signed_image
from mien.jobs.run.record import write_record
from mien.jobs.run.request_digest import request_digest
from mien.media import Clip, ClipInfo, VideoWriter, evened
from mien.models.dex_portrait import Gains, Motion, Pose
from mien.models.dex_portrait.driving import brought_within_reach, nearest_pose
from mien.motion.motion_limits import Reach

if TYPE_CHECKING:
    from mien.pipelines.dex_portrait import DeXPortraitPipeline


@dataclass(frozen=True)
class DexOptions(AnimateOptions):
    """`AnimateOptions` for DeX-Portrait, and what drives what. Make them with `dex_options`.

    pose_from, expression_from: drivers or templates of `mien motion`; None: the portrait's own. `driver` is the one of
    them that gives the result its times and its sound. pose_gain, expression_gain: 1 as driven, 0 not at all.
    relative moves the head only: an expression's latent has no neutral to measure from.
    progressive: hold the expression back in the first steps (the paper's guidance); else plain guidance.
    """

    SYSTEM = "dex"

    pose_from: Path | None = None
    expression_from: Path | None = None
    pose_gain: float = 1.0
    expression_gain: float = 1.0
    progressive: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (("--pose-gain", self.pose_gain), ("--expression-gain", self.expression_gain)):
            check_number(name, value, 0, MOST_GAIN)
        mine = {"--fast": self.fast, "--start-from": self.start_from, "--no-align": not self.align}
        for name, given in {**mine, "--face all": self.face == "all", "--smooth": self.smooth}.items():
            if given:
                raise InputError(f"{name} is for --system x: leave it out with --system dex")
        if any(getattr(self, name) != 1 for name in GAINS):
            raise InputError(
                "--eyes-gain, --mouth-gain, --brows-gain and --head-gain are for --system x: DeX-Portrait has one code"
                " for the whole expression, so use --expression-gain and --pose-gain with --system dex"
            )

    @property
    def gains(self) -> Gains:
        """The same for the arithmetic of driving."""
        return Gains(self.pose_gain, self.expression_gain, self.relative)


def dex_options(
    *,
    driver: Path | None,
    pose_from: Path | None = None,
    expression_from: Path | None = None,
    pose_only: bool = False,
    expression_only: bool = False,
    **more: Any,
) -> DexOptions:
    """Options from what the command line says: `driver` gives whatever has no source of its own.

    Raises InputError if nothing drives the portrait, or if the wishes contradict each other.
    """
    if pose_only and expression_only:
        raise InputError("--pose-only and --expression-only exclude each other: give one of them, or neither for both")
    if pose_only and expression_from is not None:
        raise InputError("--pose-only keeps the portrait's expression: leave --expression-from out")
    if expression_only and pose_from is not None:
        raise InputError("--expression-only keeps the portrait's pose: leave --pose-from out")
    pose = None if expression_only else pose_from or driver
    expression = None if pose_only else expression_from or driver
    main = expression or pose
    if main is None:
        raise InputError("nothing drives the portrait: give a driver with -d, or --pose-from and --expression-from")
    return DexOptions(driver=main, pose_from=pose, expression_from=expression, **more)


@dataclass(frozen=True)
class Source:
    """A driver: a clip that can be seen, or a template's motion."""

    info: ClipInfo
    frames: int
    clip: Clip | None = None
    motion: Motion | None = None


@dataclass(frozen=True)
class _Job:
    options: DexOptions
    output: Path
    portraits: list[Portrait]
    reader: FaceReader
    pipe: DeXPortraitPipeline
    sources: dict[Path, Source]
    provenance: Provenance
    told: list[str] = field(default_factory=list)  # what the run had to do otherwise
    work: Path = Path()  # where finished frames are kept meanwhile

    @property
    def portrait(self) -> Portrait:
        return self.portraits[0]

    @property
    def main(self) -> Source:
        return self.sources[self.options.driver]

    @property
    def info(self) -> ClipInfo:
        """What is known of the main driver by now: reading a clip makes it certain."""
        return self.main.info if self.main.clip is None else self.main.clip.info

    @property
    def size(self) -> tuple[int, int]:
        return self.portrait.size if self.options.paste_back else (self.pipe.image_size,) * 2


@dataclass(frozen=True)
class _Driving:
    """Motions of one length for the pipeline, how the main driver's faces were read, and the frame it starts from."""

    pose: Motion | None
    expression: Motion | None
    frames: int
    report: TrackReport | None
    best_frame: int | None


def animate_dex(
    options: DexOptions,
    progress: Progress | None = None,
    *,
    pipe: DeXPortraitPipeline | None = None,
    reader: FaceReader | None = None,
) -> AnimateReport:
    """Animate the portrait and write the result, its record and, if wanted, a preview.

    pipe, reader: ones that are loaded already; they stay open. Files appear whole or not at all. Raises InputError,
    OutputError or WeightsError for what the user can mend.
    """
    timed = TimedProgress(progress or Silent())
    with ExitStack() as stack:
        job = _prepare(options, timed, pipe, reader, stack)
        if options.dry_run:
            return AnimateReport(job.options, job.output, None, None, job.main.frames, job.size)
        job = replace(job, work=stack.enter_context(claimed(job.output)))
        _set_portrait(job)
        driving = _read(job, timed)

        def write(resolved: DexOptions, used: DeXPortraitPipeline) -> AnimateReport:
            again = replace(job, options=resolved, pipe=used)
            if used is not job.pipe:
                _set_portrait(again)
            return _write(again, driving, timed)

        load = _load if pipe is None else None
        report = within_means(write, job.options, job.pipe, load=load, note=job.told.append)
    report = replace(report, shares=timed.shares(), warnings=(*report.warnings, *job.told))
    return replace(report, record=write_record(report, job.info, job.provenance.options))


def _prepare(
    options: DexOptions,
    progress: Progress,
    pipe: DeXPortraitPipeline | None,
    reader: FaceReader | None,
    stack: ExitStack,
) -> _Job:
    progress.stage("Loading", None)
    paths = list(dict.fromkeys(p for p in (options.pose_from, options.expression_from) if p is not None))
    clips = {path: open_driver(replace(options, driver=path)) for path in paths if not is_template(path)}
    if len(paths) > 1:  # frames of two drivers are matched by their numbers
        clips = {path: evened(clip) for path, clip in clips.items()}
    images = [read_portrait_image(path) for path in options.portraits]
    if options.preview and options.driver not in clips:
        raise InputError(f"--preview shows the driver, but {options.driver} holds motion only: leave it out")
    if pipe is None:
        pipe = _load(options)
    sources: dict[Path, Source] = {}
    for path in paths:
        if path in clips:
            sources[path] = Source(clips[path].info, clips[path].count(), clips[path])
        else:
            template = load_template(path, pipe.encoder_id, pipe.expression_encoder.config.code)
            sources[path] = Source(template.info, len(template.motion), None, template.motion)
    options = _with_main(options, sources)
    output = resolve_output(options, _is_still(sources[options.driver]))
    if reader is None:
        reader = stack.enter_context(closing(load_face_reader(options.reader, options.reader_model)))
    portraits = [
        find_portrait(path, image, reader, options.face_number if index == 0 else None).framed(pipe.crop_scale)
        for index, (path, image) in enumerate(zip(options.portraits, images, strict=True))
    ]
    provenance = Provenance.of(options, request_digest(options))
    told = list(portrait_notes(options.portraits))
    return _Job(resolve_options(options, pipe, reader), output, portraits, reader, pipe, sources, provenance, told)


def _load(options: DexOptions) -> DeXPortraitPipeline:
    return load_dex_pipeline(options.model, options.device, options.dtype)


def _with_main(options: DexOptions, sources: dict[Path, Source]) -> DexOptions:
    """The driver that gives the times: the expression's, or the pose's where the expression's is a still."""
    pose = options.pose_from
    if pose is not None and sources[options.driver].frames == 1 and sources[pose].frames > 1:
        return replace(options, driver=pose)
    return options


def _is_still(source: Source) -> bool:
    return source.frames == 1 and source.info.kind == "image"


def _set_portrait(job: _Job) -> None:
    squares = [portrait.square(max(job.pipe.image_size, 256)) for portrait in job.portraits]
    job.pipe.set_portrait(squares, job.portrait.landmarks)


def _read(job: _Job, progress: Progress) -> _Driving:
    """The motions of all drivers, brought to the main one's times."""
    motions: dict[Path, Motion] = {}
    report: TrackReport | None = None
    for path, source in job.sources.items():
        motion = source.motion
        if source.clip is not None:
            motion, faces = read_clip_motion(source.clip, job.reader, job.pipe, progress)
            report = faces if path == job.options.driver else report
        assert motion is not None  # a source is a clip or a motion
        motions[path] = motion
    options, best, reach = job.options, None, Reach.of(job.pipe.config.reach)
    pose = None if options.pose_from is None else motions[options.pose_from]
    if pose is not None:
        best = _start_frame(job, pose)
        pose = replace(pose, reference=best)
        if reach is not None and not options.gains.relative:  # relative motion is held by the pipeline
            pose = brought_within_reach(Pose.from_code(job.pipe.portrait.pose), pose, reach)
    expression = None if options.expression_from is None else motions[options.expression_from]
    rate = job.main.info.rate
    timed = [
        (motion, rate if len(motion) == 1 else job.sources[path].info.rate)
        for motion, path in ((pose, options.pose_from), (expression, options.expression_from))
        if motion is not None and path is not None
    ]
    count = min((_frames_at(rate, motion, own) for motion, own in timed if len(motion) > 1), default=1)
    fitted = {id(motion): _at_rate(motion, own, rate, count) for motion, own in timed}
    return _Driving(
        None if pose is None else fitted[id(pose)],
        None if expression is None else fitted[id(expression)],
        count,
        report,
        best,
    )


def _start_frame(job: _Job, pose: Motion) -> int:
    """The frame relative motion starts from: the one whose head is turned most like the portrait's."""
    wanted = job.options.best_frame
    if isinstance(wanted, int):
        if wanted >= len(pose):
            name = job.options.pose_from
            raise InputError(f"--best-frame is {wanted}, but {name} has {len(pose)} frames, counted from 0")
        return wanted
    return nearest_pose(Pose.from_code(job.pipe.portrait.pose), Pose.from_code(pose.pose))


def _frames_at(rate: Fraction, motion: Motion, own: Fraction) -> int:
    """How many frames of the main rate a motion lasts."""
    return max(1, math.floor(len(motion) * rate / own))


def _at_rate(motion: Motion, own: Fraction, rate: Fraction, count: int) -> Motion:
    """`count` frames of a motion at another rate, the nearest ones; a still is left as it is."""
    if len(motion) == 1 or (own == rate and len(motion) == count):
        return motion
    rows = [min(math.floor(index * own / rate + Fraction(1, 2)), len(motion) - 1) for index in range(count)]
    # the frame that relative motion starts from may not be among them: it is appended, and not played
    chosen = torch.tensor([*rows, motion.reference])
    return Motion(motion.pose[chosen], motion.expression[chosen], count)


def _write(job: _Job, driving: _Driving, progress: Progress) -> AnimateReport:
    if job.output.suffix.lower() in IMAGE_SUFFIXES:
        return _write_image(job, driving, progress)
    preview = preview_path(job.output) if job.options.preview else None
    clip = job.main.clip
    with ExitStack() as stack:
        writer = stack.enter_context(_writer(job, job.output, job.size))
        times = _times(clip)
        drivers = iter(clip) if clip is not None else iter(())
        side_by_side = None
        for frame in _frames(job, driving, progress):
            time = next(times)
            writer.write(frame, time)
            if preview is not None:
                panels = preview_frame(next(drivers), job.portrait.image, frame)
                if side_by_side is None:
                    side_by_side = stack.enter_context(_writer(job, preview, (panels.shape[1], panels.shape[0])))
                side_by_side.write(panels, time)
        if writer.frames != driving.frames:
            raise RuntimeError(f"the pipeline gave {writer.frames} frames for {driving.frames}")
    return _report(job, driving, preview, writer.warnings)


def _write_image(job: _Job, driving: _Driving, progress: Progress) -> AnimateReport:
    frame = next(_frames(job, driving, progress))
    write_signed_image(job.output, frame, job.provenance, job.options.watermark)
    preview = None
    if job.options.preview and job.main.clip is not None:
        preview = preview_path(job.output)
        panels = preview_frame(next(iter(job.main.clip)), job.portrait.image, frame)
        write_signed_image(preview, panels, job.provenance, job.options.watermark)
    return _report(job, driving, preview, [])


def _frames(job: _Job, driving: _Driving, progress: Progress) -> Iterator[np.ndarray]:
    """The frames to write, as the pipeline finishes them."""
    options = job.options
    progress.stage("Animating", 1.0)
    kept = KeptFrames(job.work / run_key(job.provenance.options, options), job.told.append)
    squares = job.pipe.stream(
        driving.pose,
        driving.expression,
        frames=driving.frames,
        gains=options.gains,
        guidance="progressive" if options.progressive else "plain",
        num_inference_steps=options.steps,
        guidance_scale=options.guidance,
        window=options.window,
        overlap=options.overlap,
        # Drawn on the CPU, so that a seed means the same on every device.
        generator=torch.Generator("cpu").manual_seed(options.seed),
        progress=progress.reach,
        keeper=kept,
        note=job.told.append,
    )
    return finished_frames(resumed(kept, squares), job.portrait, options.paste_back)


def _times(clip: Clip | None) -> Iterator[Fraction | None]:
    """The frames' times on the clock of the file, once the clip was read; None for motion that has only a rate."""
    return repeat(None) if clip is None else (clip.start + moment for moment in clip.moments())


def _writer(job: _Job, path: Path, size: tuple[int, int]) -> VideoWriter:
    info = job.info
    return VideoWriter(
        path,
        rate=info.rate,
        size=size,
        audio_from=info.path if info.has_audio else None,
        audio_start=Fraction(0) if job.main.clip is None else job.main.clip.start,
        timestamps=info.variable_rate,
        metadata={"comment": job.provenance.comment()},
        watermark=job.options.watermark,
    )


def _report(job: _Job, driving: _Driving, preview: Path | None, warnings: list[str]) -> AnimateReport:
    seen = chain.from_iterable(source.clip.warnings for source in job.sources.values() if source.clip is not None)
    return AnimateReport(
        options=job.options,
        output=job.output,
        preview=preview,
        record=None,
        frames=driving.frames,
        size=job.size,
        faces=driving.report,
        best_frame=driving.best_frame,
        warnings=(*islice(seen, 20), *warnings),
    )
