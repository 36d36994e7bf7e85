"""Making people and rendering them: `mien data head-model, avatar, motion, avatars, pack`.

Work is spread over processes, a person or a group each; what is there already is left alone, so that a run that was
stopped goes on where it was.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from mien.errors import InputError
from mien.jobs.data.options import CastOptions, DriverOptions, GroupOptions, PackOptions, TrackOptions
from mien.jobs.run.progress import Progress
from mien.jobs.run.workers import Outcome, spread, work_in
from mien.media.files import missing, whole_file
from mien.media.kind import Kind, files_of_kind

_REASON = ".reason.json"
_MARKED = "initiative-sh/artflow-portraits"  # the repository whose pictures carry artflow.ai's mark


def install_head_model(source: Path, out: Path | None = None) -> Path:
    """Take a pack of the head model, or make one from a clone of ICT-FaceKit.

    Args:
        source: a file or a folder.
        out: where to put it; None: where `load_head_model` looks first.

    Returns:
        The pack's path.

    Raises:
        InputError: the source is neither.
    """
    from mien.avatars.head_model import load_head_model, pack_place
    from mien.avatars.head_pack import pack_clone

    target = out or pack_place()
    if not source.exists():
        raise InputError(f"{source} does not exist: give a clone of github.com/ICT-VGL/ICT-FaceKit or a pack of it")
    if source.is_dir():
        pack_clone(source, target)
    else:
        load_head_model(source)  # tells what is wrong before anything is copied
        with whole_file(target) as temporary:
            shutil.copyfile(source, temporary)
    return target


def make_cast(options: CastOptions, progress: Progress) -> Outcome:
    """Make people from photographs.

    Writes OUT/ID.safetensors for every photograph that makes a good avatar, OUT/ID.reason.json for every other.

    Args:
        options: see `CastOptions`.
        progress: told how many photographs are through.

    Returns:
        Which were made, were there, and failed, with the reason.

    Raises:
        InputError: there is no photograph, or no head model.
    """
    from mien.avatars.head_model import load_head_model

    load_head_model(options.head)
    pictures = _pictures(options)
    outcome, todo = Outcome(), []
    with work_in(options.out):
        for picture in pictures:
            if (options.out / f"{picture['id']}.safetensors").is_file():
                outcome.kept.append(picture["id"])
            elif (reason := options.out / f"{picture['id']}{_REASON}").is_file():
                outcome.failed[picture["id"]] = json.loads(reason.read_text(encoding="utf-8"))["reason"]
            else:
                todo.append((picture["id"], (picture, options.out, options.head)))
        spread(_make_one, todo, options.workers, "avatars", outcome, progress)
    return outcome


def _pictures(options: CastOptions) -> list[dict[str, Any]]:
    """Path, id, whether it is marked, and what the index tells of every picture."""
    if options.photos.is_file():
        return [{"path": options.photos, "id": options.photos.stem, "mark": options.mark, "details": {}}]
    if not options.photos.is_dir():
        raise InputError(f"{options.photos} does not exist: give a photograph or a folder of them")
    index = options.photos / "index.json"
    if index.is_file():
        found = list(_indexed(options.photos, json.loads(index.read_text(encoding="utf-8"))))
    else:
        paths = files_of_kind(options.photos, ("image", "animation"))
        found = [{"path": path, "id": path.stem, "mark": options.mark, "details": {}} for path in paths]
        names = [path.stem for path in paths]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InputError(f"two pictures of {options.photos} are called {twice}: give them different names")
    if not found:
        raise InputError(f"{options.photos} holds no pictures: give a photograph or a folder of them")
    return found[: options.limit]


def _indexed(folder: Path, index: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for entry in [*index.get("portraits", []), *index.get("native256", [])]:
        if entry.get("train_ok"):
            details = {key: entry[key] for key in ("kind", "license", "origin_repo", "group") if key in entry}
            details["file"] = entry["file"]
            mark = entry.get("origin_repo") == _MARKED
            yield {"path": folder / entry["file"], "id": entry["id"], "mark": mark, "details": details}


def _make_one(picture: dict[str, Any], out: Path, head: Path | None) -> str | None:
    """In a worker: one photograph; returns why it will not do, None if it does."""
    from mien.avatars.cast import make_member, remove_mark, save_member
    from mien.avatars.head_model import load_head_model
    from mien.media import read_image

    try:
        image = read_image(picture["path"])
        if picture["mark"]:
            image = remove_mark(image)
        found = make_member(load_head_model(head), _detector(), image, picture["id"], picture["details"])
    except InputError as error:
        with whole_file(out / f"{picture['id']}{_REASON}") as temporary:
            temporary.write_text(json.dumps({"file": str(picture["path"]), "reason": str(error)}), encoding="utf-8")
        return str(error)
    save_member(out, found)
    return None


@lru_cache(maxsize=1)
def _detector() -> Any:
    """One detector a process: it takes longer to make than to use."""
    from mien.avatars.detector import Detector

    return Detector()


def measure_motion(options: TrackOptions, progress: Progress) -> Outcome:
    """Read the head poses and expressions of a clip, or of all clips of a folder, into one motion library.

    Args:
        options: the clips, the reader, and the library to write.
        progress: told how many clips have been read.

    Returns:
        The clips that were measured, and those that could not be, with the reason.

    Raises:
        InputError: there is no clip, or none shows a face.
    """
    from mien.avatars.head_model import load_head_model
    from mien.avatars.motion import measure_track, save_tracks
    from mien.faces import load_face_reader

    clips = options.clips
    if not clips.is_file() and not clips.is_dir():
        raise missing(clips, "clip or a folder of clips")
    videos: tuple[Kind, ...] = ("video",)
    files = [clips] if clips.is_file() else files_of_kind(clips, videos)
    if not files:
        raise InputError(f"{clips} holds no video: give a clip or a folder of clips")
    model, outcome, tracks = load_head_model(options.head), Outcome(), []
    face_reader = load_face_reader(options.reader)
    progress.stage("clips", len(files))
    for number, file in enumerate(files):
        try:
            tracks.append(measure_track(model, face_reader, file, options.limit))
            outcome.done.append(file.stem)
        except InputError as error:
            outcome.failed[file.stem] = str(error)
        progress.update(number + 1)
    face_reader.close()
    if not tracks:
        raise InputError(f"no clip of {clips} shows a face: {next(iter(outcome.failed.values()))}")
    save_tracks(options.output, tracks, model.names)
    return outcome


def render_driver(options: DriverOptions, progress: Progress) -> Path:
    """Write a video of somebody who performs a track.

    Args:
        options: see `DriverOptions`.
        progress: told how many frames are written.

    Returns:
        The video's path.

    Raises:
        InputError: there is no such track, or no head model.
    """
    from fractions import Fraction

    from mien.avatars.head_model import load_head_model
    from mien.avatars.people import RandomPerson
    from mien.media import VideoWriter

    model = load_head_model(options.head)
    track = _driver_track(model, options)
    person = RandomPerson(model, options.person)
    rate = Fraction(track.rate).limit_denominator(1001)
    progress.stage("frames", len(track))
    with VideoWriter(options.output, rate=rate, size=(options.size, options.size), timestamps=False) as video:
        for moment in range(len(track)):
            video.write(person.render(track.expression[moment], track.motion(moment), options.size).image)
            progress.update(moment + 1)
    return options.output


def _driver_track(model: Any, options: DriverOptions) -> Any:
    import numpy as np

    from mien.avatars.motion import generated_track, load_tracks, named_expressions_track

    if options.motions is not None:
        tracks = {track.name: track for track in load_tracks(options.motions)}
        if options.track not in tracks:
            raise InputError(f"{options.motions} has no track {options.track}: it holds {', '.join(sorted(tracks))}")
        return tracks[options.track]
    if options.track == "expressions":
        return named_expressions_track(model)
    if options.track == "talking":
        rng, frames = np.random.default_rng(options.seed), max(2, round(options.seconds * 25))
        return generated_track(model, rng, frames, 25.0, options.widest)
    raise InputError(f"there is no track {options.track}: give a motion library, or take expressions or talking")


def render_dataset(options: GroupOptions, progress: Progress) -> Outcome:
    """Write the groups of a dataset; see `mien.avatars.groups` for the files.

    Args:
        options: see `GroupOptions`.
        progress: told how many groups are through.

    Returns:
        Which were rendered, and which were there already.

    Raises:
        InputError: a held-out person is not of the cast, or there is no head model.
    """
    from mien.avatars.groups import is_complete, make_plan
    from mien.avatars.head_model import load_head_model
    from mien.avatars.motion import load_tracks

    _check_held_out(options, progress)
    load_head_model(options.head)
    if options.motions is not None:
        load_tracks(options.motions)
    plans = make_plan(
        *(_roles(options), options.per_group, options.validation_groups, options.seed),
        *(options.paired, options.distinct, options.side, options.held_out),
    )
    outcome, todo = Outcome(), []
    with work_in(options.out):
        for plan in plans:
            if is_complete(options.out, plan):
                outcome.kept.append(plan.name)
            else:
                todo.append((plan.name, (plan, options.motions, options.head, options.out)))
        spread(_render_one, todo, options.workers, "groups", outcome, progress)
    return outcome


def _check_held_out(options: GroupOptions, progress: Progress) -> None:
    """Raise InputError where people are to be held out who have no group to go to; note who does not exist."""
    from mien.avatars.cast import cast_files

    if options.held_out and options.validation_groups < 1:
        raise InputError("--hold-out needs a group to put people into: give --validation-groups from 1.")
    known = set() if options.cast is None or not options.held_out else {path.stem for path in cast_files(options.cast)}
    for name in sorted(set(options.held_out) - known):
        progress.note(f"--hold-out {name}: the cast has nobody of that name, so nobody is held out")


def _roles(options: GroupOptions) -> list[Any]:
    """Who plays: the cast, as far as it goes, and random people."""
    import numpy as np

    from mien.avatars.cast import cast_files, load_member
    from mien.avatars.groups import Role
    from mien.avatars.styles import Style

    roles = []
    if options.cast is not None:
        files, rng = cast_files(options.cast), np.random.default_rng(options.seed)
        wanted = min(len(files), options.people - round(options.people * options.random_share))
        for number in sorted(rng.permutation(len(files))[:wanted].tolist()):
            group = load_member(files[number]).details.get("group")
            roles.append(Role(files[number].stem, file=files[number], look_alike=None if group is None else f"{group}"))
    for number in range(options.people - len(roles)):
        seed = options.seed % 100_000 + number
        style = Style.random(np.random.default_rng([options.seed, number]), 1 - options.styled)
        roles.append(Role(f"random{seed:06d}", seed=seed, style=style))
    return roles


def _render_one(plan: Any, motions: Path | None, head: Path | None, out: Path) -> str | None:
    """In a worker: one group."""
    from mien.avatars.groups import render_group
    from mien.avatars.head_model import load_head_model
    from mien.avatars.motion import load_tracks

    try:
        render_group(load_head_model(head), plan, load_tracks(motions) if motions is not None else [], out)
    except InputError as error:
        return str(error)
    return None


def pack_cast(options: PackOptions) -> Path:
    """Write one file with the head model, the cast's people and a motion library.

    Args:
        options: the cast, the library, and the file to write.

    Returns:
        The file's path.
    """
    from mien.avatars.cast import cast_files
    from mien.avatars.motion import load_tracks
    from mien.avatars.pack import write_pack

    tracks = load_tracks(options.motions) if options.motions is not None else []
    files = [file for file in cast_files(options.cast) if file.stem not in options.held_out]
    return write_pack(options.output, options.head, files, tracks, options.side)
