"""Checkpoints that survive a stop at any moment: written aside, renamed when whole, the newest two of them kept.

A checkpoint is a folder `checkpoints/step_00001000`: weights.safetensors (what changes), average.safetensors (averages
of what is trained), optimizer_NAME.pt (tensors only), and manifest.json with the step, the SHA-256 of the others, and
what is not in it: parts that stay as they are, frozen or unused, are written once a run, to RUN/frozen_SUM.safetensors
(names, shapes and the SHA-256 are in the manifest), and of parts that are loaded anew each time the manifest has the
files' paths and SHA-256. A folder whose files are not what its manifest says is passed over, with a warning, for the
one before.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mien.errors import InputError, WeightsError

logger = logging.getLogger(__name__)

FOLDER = "checkpoints"
_PREFIX = "step_"
_KEEP = 2
_MANIFEST = "manifest.json"
_WEIGHTS, _AVERAGE, _FROZEN = "weights.safetensors", "average.safetensors", "frozen_{}.safetensors"
Tensors = Mapping[str, Tensor]
State = Mapping[str, Any]
_OLD_PARTS = {"critic": "discriminator"}  # what runs of the first release call them


@dataclass(frozen=True)
class Checkpoint:
    """A folder whose files are whole."""

    path: Path
    step: int

    def weights(self) -> dict[str, Tensor]:
        """The model's state dict (less the parts that are loaded anew)."""
        frozen = load_file(_frozen_file(self.run, self.manifest())) if "frozen" in self.manifest() else {}
        return _with_new_names({**frozen, **load_file(self.path / _WEIGHTS)})

    @property
    def run(self) -> Path:
        """The folder of the run."""
        return self.path.parent.parent

    def manifest(self) -> dict[str, Any]:
        """What it says of itself, see this module's head."""
        content: dict[str, Any] = json.loads((self.path / _MANIFEST).read_text(encoding="utf-8"))
        return content

    def average(self) -> dict[str, Tensor]:
        """The averages of the trained parameters; empty where nothing was averaged."""
        return _with_new_names(load_file(self.path / _AVERAGE))

    def averaged_weights(self) -> dict[str, Tensor]:
        """The model's state dict with the averages in place: what another stage starts from."""
        return {**self.weights(), **self.average()}

    def optimizer(self, name: str) -> dict[str, Any]:
        """An optimizer's state.

        Args:
            name: of its optimizer step.

        Returns:
            What `load_state_dict` takes.
        """
        old = next((before for before, now in _OLD_PARTS.items() if now == name), name)
        files = [self.path / _optimizer_file(each) for each in (name, old)]
        file = next((file for file in files if file.is_file()), files[0])
        return dict(torch.load(file, weights_only=True, map_location="cpu", mmap=True))


def save(
    run: Path,
    step: int,
    weights: Tensors | Callable[[], Tensors],
    average: Tensors | Callable[[], Tensors],
    optimizers: Mapping[str, State | Callable[[], State]],
    frozen: Mapping[str, Any] | None = None,
    keep_every: float | None = None,
) -> Checkpoint:
    """Write a checkpoint and remove those that are not kept; a stop in between leaves the old ones.

    Args:
        run: the run's folder.
        step: how many are done.
        weights: what changes of the model's state dict. This and the next two, in this order, may be functions that
            give them, so that what is put together for the file is held one after the other.
        average: of the trained parameters.
        optimizers: their state dicts by name.
        frozen: what `save_frozen` returned, and whatever else the manifest is to say of what is left out.
        keep_every: hours; besides the newest two one is kept for good this often. None: none is.
    """
    folder = run / FOLDER
    target, aside = folder_of(run, step), folder / f".{uuid.uuid4().hex[:12]}.part"
    for abandoned in folder.glob(".*.part"):
        shutil.rmtree(abandoned, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        save_file({name: _plain(value) for name, value in _given(weights).items()}, aside / _WEIGHTS)
        save_file({name: _plain(value) for name, value in _given(average).items()}, aside / _AVERAGE)
        for name, state in optimizers.items():
            torch.save(dict(_given(state)), aside / _optimizer_file(name))
        sums = {path.name: _sha256(path) for path in sorted(aside.iterdir())}
        manifest = {"step": step, "sha256": sums, **(frozen or {})}
        (aside / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        if target.exists():  # the same step again, after a fall back past a damaged one
            shutil.rmtree(target)
        os.replace(aside, target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    for old in _not_kept(sorted(folder.glob(f"{_PREFIX}*")), keep_every):
        shutil.rmtree(old, ignore_errors=True)
    made = Checkpoint(target, step)
    _remove_unused_frozen(run)
    return made


def save_frozen(run: Path, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Write what stays as it is throughout a run.

    Args:
        run: its folder.
        weights: by name.

    Returns:
        What manifests say of it: its sum and its tensors.
    """
    if not weights:
        return {}
    aside = run / f".{uuid.uuid4().hex[:12]}.part"
    try:
        save_file({name: _plain(value) for name, value in weights.items()}, aside)
        said = {"frozen": {"sha256": _sha256(aside), "tensors": {n: list(v.shape) for n, v in weights.items()}}}
        os.replace(aside, _frozen_file(run, said))
    finally:
        aside.unlink(missing_ok=True)
    return said


def identity(file: Path) -> dict[str, str]:
    """What a manifest says of a file that it leaves out.

    Args:
        file: the file.

    Returns:
        Where it lies, and its SHA-256.
    """
    return {"path": str(file.resolve()), "sha256": _sha256(file)}


def folder_of(run: Path, step: int) -> Path:
    """Where the checkpoint of a step lies.

    Args:
        run: its folder.
        step: the number.

    Returns:
        A folder.
    """
    return run / FOLDER / f"{_PREFIX}{step:08d}"


def newest(run: Path) -> Checkpoint | None:
    """The newest checkpoint of a run that is whole; a warning names those that are not.

    Args:
        run: its folder.

    Returns:
        None: there is none.
    """
    for path in sorted((run / FOLDER).glob(f"{_PREFIX}*"), reverse=True):
        fault = _fault(path)
        if fault is None:
            return Checkpoint(path, int(json.loads((path / _MANIFEST).read_text(encoding="utf-8"))["step"]))
        logger.warning("the checkpoint %s is damaged (%s): going back to the one before", path, fault)
    return None


def newest_step(run: Path) -> int | None:
    """The step of the newest checkpoint, by its name.

    Args:
        run: its folder.

    Returns:
        None: there is none.
    """
    names = [path.name for path in (run / FOLDER).glob(f"{_PREFIX}*")]
    return max((int(name.removeprefix(_PREFIX)) for name in names), default=None)


def find(place: Path) -> Checkpoint:
    """The newest whole checkpoint of a run, or the one whose folder is given.

    Args:
        place: a folder.

    Returns:
        The checkpoint.

    Raises:
        InputError: there is none, or it is damaged.
    """
    if not place.is_dir():
        raise InputError(f"{place} is not a run of `mien train`: give its folder.")
    if place.name.startswith(_PREFIX):
        fault = _fault(place)
        if fault is not None:
            raise InputError(f"the checkpoint {place} is damaged ({fault}): give another one.")
        return Checkpoint(place, int(json.loads((place / _MANIFEST).read_text(encoding="utf-8"))["step"]))
    found = newest(place)
    if found is None:
        raise InputError(f"{place} holds no checkpoint: give the folder that a run of `mien train` wrote.")
    return found


def fill(model: nn.Module, weights: Mapping[str, Tensor], left_out: Sequence[str] = (), assign: bool = False) -> None:
    """Load a state dict strictly.

    Args:
        model: to be filled.
        weights: by name.
        left_out: parts that neither need nor get weights.
        assign: the tensors themselves take the place of the model's, which may be on the meta device.

    Raises:
        WeightsError: names what does not fit.
    """
    wanted = {name: value for name, value in model.state_dict().items() if not within(name, left_out)}
    given = {name: value for name, value in weights.items() if not within(name, left_out)}
    for what, names in (("missing", set(wanted) - set(given)), ("unknown", set(given) - set(wanted))):
        if names:
            raise WeightsError(f"the weights do not fit the stage: {len(names)} {what}, such as {min(names)}.")
    for name, value in given.items():
        if wanted[name].shape != value.shape:
            raise WeightsError(
                f"the weights do not fit the stage: {name} is {list(value.shape)}, not {list(wanted[name].shape)}."
            )
    model.load_state_dict(given, strict=False, assign=assign)  # strictness is above


def within(name: str, parts: Sequence[str]) -> bool:
    """Whether a parameter lies in one of some parts.

    Args:
        name: its full name.
        parts: full names of modules.

    Returns:
        True if it does.
    """
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def _optimizer_file(name: str) -> str:
    return f"optimizer_{name}.pt"


def _frozen_file(run: Path, manifest: Mapping[str, Any]) -> Path:
    return run / _FROZEN.format(manifest["frozen"]["sha256"][:12])


def _remove_unused_frozen(run: Path) -> None:
    used = set()
    for manifest in (run / FOLDER).glob(f"{_PREFIX}*/{_MANIFEST}"):
        content = json.loads(manifest.read_text(encoding="utf-8"))
        used |= {_frozen_file(run, content)} if "frozen" in content else set()
    for file in set(run.glob(_FROZEN.format("*"))) - used:
        file.unlink(missing_ok=True)


def _with_new_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {".".join(_OLD_PARTS.get(piece, piece) for piece in name.split(".")): v for name, v in weights.items()}


def _not_kept(folders: Sequence[Path], keep_every: float | None) -> list[Path]:
    """Which of the checkpoints, oldest first, go: all but the newest two and, of the others, one every so often."""
    gone, last = [], -math.inf
    for folder in folders[:-_KEEP]:
        written = (folder / _MANIFEST).stat().st_mtime if (folder / _MANIFEST).is_file() else -math.inf
        if keep_every is not None and written - last >= keep_every * 3600:
            last = written
        else:
            gone.append(folder)
    return gone


def _given(value: Any) -> Any:
    return value() if callable(value) else value


def _plain(value: Tensor) -> Tensor:
    return value.detach().cpu().contiguous()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def _fault(path: Path) -> str | None:
    """Why a checkpoint cannot be used; None: it is whole."""
    try:
        manifest = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
        files = [(path / name, wanted) for name, wanted in manifest["sha256"].items()]
        if "frozen" in manifest:
            files.append((_frozen_file(path.parent.parent, manifest), manifest["frozen"]["sha256"]))
        for file, wanted in files:
            if _sha256(file) != wanted:
                return f"{file.name} has changed since it was written"
    except (OSError, ValueError, KeyError) as error:
        return str(error) or type(error).__name__
    return None
