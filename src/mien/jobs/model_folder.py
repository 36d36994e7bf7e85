"""Is a model folder whole? Its index, each part's configuration, every tensor's presence, shape and type, stated sums.

Headers are read and networks are built on the meta device, so that a folder of 12 GB takes seconds; only where the
folder states SHA-256 sums (a file SHA256SUMS, as `sha256sum` writes and reads it) are the weights themselves read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from mien.animation.loading import SYSTEMS
from mien.errors import InputError, MienError
from mien.jobs.run.progress import Progress, Silent
from mien.media.files import utf8_path
from mien.pipelines import loading
from mien.pipelines.int8_storage import SCALE, STORED, with_scales

SUMS = "SHA256SUMS"
_READ = 1 << 22  # bytes at a time
_TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_NAMES = {**_TYPES, STORED: "int8"}


@dataclass
class ModelFolder:
    """What was found. kind: class of the pipeline; parts: a line on each; faults: one sentence each, with the fix."""

    folder: Path
    kind: str
    parts: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def examine_model(folder: Path, progress: Progress | None = None) -> ModelFolder:
    """Look for everything that would keep a model folder from being loaded, or from being what it was.

    Args:
        folder: with a model_index.json.
        progress: told how many bytes of the stated sums are checked.

    Returns:
        The parts and the faults; no faults: it is whole.

    Raises:
        InputError: it is no model folder, or of no system that is known here.
    """
    if not (folder / "model_index.json").is_file():
        raise InputError(f"{folder} has no model_index.json: give the folder of a model, as `mien convert` makes it.")
    try:
        index = loading.read_index(folder)
    except MienError as error:
        raise InputError(str(error)) from error
    name = str(index.get("_class_name"))
    system = next((one for one in SYSTEMS.values() if one.class_name == name), None)
    if system is None:
        known = ", ".join(one.class_name for one in SYSTEMS.values())
        raise InputError(f"{folder} holds a {name}, which is none of {known}: give another folder.")
    found = ModelFolder(folder, name)
    pipeline = resolve_name(system.pipeline)
    optional = getattr(pipeline, "_optional_components", ())
    for part, kind in pipeline.networks_of.items():
        if part in optional and index.get(part) in (None, [None, None]):
            found.parts[part] = "none (the model does without)"
            continue
        _look_at_part(found, part, kind, folder / part)
    if "scheduler" in index:
        _look_at_scheduler(found)
    found.faults += _wrong_sums(folder, progress or Silent())
    return found


def write_sums(folder: Path, progress: Progress | None = None) -> Path:
    """Write SHA256SUMS over all files below a folder, for `examine_model` and `sha256sum -c`.

    Args:
        folder: of a model.
        progress: told the megabytes that are read.

    Returns:
        The file's path.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    sums = _sums(folder, [path.relative_to(folder).as_posix() for path in files], progress or Silent())
    (folder / SUMS).write_text("".join(f"{value}  {name}\n" for name, value in sums), encoding="utf-8")
    return folder / SUMS


def _look_at_part(found: ModelFolder, part: str, kinds: Any, place: Path) -> None:
    try:
        config = loading.read_json(place / "config.json")
    except MienError as error:
        found.parts[part] = "unusable"
        found.faults.append(str(error))
        return
    kind = loading.kind_of(kinds, config)
    settings = {k: v for k, v in config.items() if not k.startswith("_")}
    try:
        with torch.device("meta"):
            wanted = kind.from_config(settings).state_dict()
    except Exception as error:  # a configuration can go wrong in any way a network's constructor can
        found.parts[part] = "unusable"
        why = " ".join(str(error).split()) or type(error).__name__
        found.faults.append(
            f"{place / 'config.json'} does not describe a {kind.__name__} ({why}): fetch or convert the model again."
        )
        return
    file = place / loading.WEIGHTS
    try:
        given = _header(file)
    except FileNotFoundError:
        found.parts[part] = "unusable"
        found.faults.append(f"{file} is missing: fetch or convert the model again.")
        return
    except (SafetensorError, OSError, ValueError):
        found.parts[part] = "unusable"
        found.faults.append(f"{file} is not a whole safetensors file: fetch or convert the model again.")
        return
    found.faults += _faults_of(file, wanted, given)
    count = sum(value.numel() for value in wanted.values()) / 1e6
    types = " and ".join(sorted({_NAMES.get(dtype, dtype) for _, dtype in given.values()}))
    found.parts[part] = f"{count:.1f} million numbers, {types}, {file.stat().st_size / 1e6:.1f} MB"


def _header(file: Path) -> dict[str, tuple[list[int], str]]:
    """Shape and type of every tensor of a safetensors file."""
    with utf8_path(file) as path, safe_open(path, "pt") as content:
        slices = {name: content.get_slice(name) for name in content.keys()}  # noqa: SIM118 - not a dict
        return {name: (list(piece.get_shape()), str(piece.get_dtype())) for name, piece in slices.items()}


def _faults_of(file: Path, wanted: dict[str, torch.Tensor], given: dict[str, tuple[list[int], str]]) -> Iterator[str]:
    again = "fetch or convert the model again."
    shapes = {name: value.shape for name, value in wanted.items()}
    due = with_scales(shapes, {name: dtype for name, (_, dtype) in given.items()})
    for problem, names in (("missing", set(due) - set(given)), ("unknown", set(given) - set(due))):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            yield f"{file}: {min(names)}{more} {'is' if len(names) == 1 else 'are'} {problem}: {again}"
    for name in sorted(set(due) & set(given)):
        shape, dtype = given[name]
        if shape != list(due[name]):
            yield f"{file}: {name} has shape {shape}, the configuration wants {list(due[name])}: {again}"
        exact = name in wanted and wanted[name].is_floating_point() and name + SCALE not in due
        if exact and dtype not in _TYPES:
            yield f"{file}: {name} holds {dtype}, no floating-point numbers of 16 bits or more: {again}"


def _look_at_scheduler(found: ModelFolder) -> None:
    from mien.pipelines.base import SCHEDULERS

    try:
        found.parts["scheduler"] = type(loading.load_scheduler(SCHEDULERS, found.folder / "scheduler")).__name__
    except MienError as error:
        found.parts["scheduler"] = "unusable"
        found.faults.append(str(error))


def _wrong_sums(folder: Path, progress: Progress) -> list[str]:
    """Faults of the files that SHA256SUMS names; none where there is no such file."""
    place = folder / SUMS
    if not place.is_file():
        return []
    stated: dict[str, str] = {}
    for line in place.read_text(encoding="utf-8", errors="replace").splitlines():
        value, _, name = line.partition("  ")
        if len(value) != 64 or not name:
            return [f"{place} cannot be read: write it anew with sha256sum, or remove it."]
        stated[name.removeprefix("*")] = value.lower()
    faults = [f"{folder / name}, which {SUMS} names, is missing: fetch or convert the model again."
              for name in stated if not (folder / name).is_file()]  # fmt: skip
    there = [name for name in stated if (folder / name).is_file()]
    for name, value in _sums(folder, there, progress):
        if value != stated[name]:
            faults.append(f"{folder / name} is not the file that {SUMS} states: fetch or convert the model again.")
    return faults


def _sums(folder: Path, names: list[str], progress: Progress) -> Iterator[tuple[str, str]]:
    progress.stage("checking sums, MB", sum((folder / name).stat().st_size for name in names) / 1e6)
    done = 0
    for name in names:
        digest = hashlib.sha256()
        with (folder / name).open("rb") as file:
            while piece := file.read(_READ):
                digest.update(piece)
                done += len(piece)
                progress.update(done / 1e6)
        yield name, digest.hexdigest()
