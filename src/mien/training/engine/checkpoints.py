"""Checkpoints that survive a stop at any moment: written aside, renamed when whole, two of them kept.

A checkpoint is a folder `checkpoints/step_00001000`: weights.safetensors (the model), average.safetensors (averages of
what is trained), optimizer_TURN.pt (tensors only), and manifest.json with the step and the SHA-256 of the others. A
folder whose files are not what its manifest says is passed over, with a warning, for the one before.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
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
_MANIFEST = "manifest.json"
_WEIGHTS, _AVERAGE = "weights.safetensors", "average.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A folder whose files are whole."""

    path: Path
    step: int

    def weights(self) -> dict[str, Tensor]:
        """The model's state dict (less the parts left out)."""
        return load_file(self.path / _WEIGHTS)

    def average(self) -> dict[str, Tensor]:
        """The averages of the trained parameters; empty where nothing was averaged."""
        return load_file(self.path / _AVERAGE)

    def averaged_weights(self) -> dict[str, Tensor]:
        """The model's state dict with the averages in place: what another stage starts from."""
        return {**self.weights(), **self.average()}

    def optimizer(self, turn: str) -> dict[str, Any]:
        """An optimiser's state dict."""
        return dict(torch.load(self.path / _optimizer_file(turn), weights_only=True, map_location="cpu"))


def save(
    run: Path,
    step: int,
    weights: Mapping[str, Tensor],
    average: Mapping[str, Tensor],
    optimizers: Mapping[str, Mapping[str, Any]],
    keep: int = 2,
) -> Checkpoint:
    """Write a checkpoint and remove all but the newest `keep`; a stop in between leaves the old ones."""
    folder = run / FOLDER
    target, aside = folder_of(run, step), folder / f".{uuid.uuid4().hex[:12]}.part"
    for abandoned in folder.glob(".*.part"):
        shutil.rmtree(abandoned, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        save_file({name: _plain(value) for name, value in weights.items()}, aside / _WEIGHTS)
        save_file({name: _plain(value) for name, value in average.items()}, aside / _AVERAGE)
        for turn, state in optimizers.items():
            torch.save(dict(state), aside / _optimizer_file(turn))
        sums = {path.name: _sha256(path) for path in sorted(aside.iterdir())}
        (aside / _MANIFEST).write_text(json.dumps({"step": step, "sha256": sums}, indent=1), encoding="utf-8")
        if target.exists():  # the same step again, after a fall back past a damaged one
            shutil.rmtree(target)
        os.replace(aside, target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    for old in sorted(folder.glob(f"{_PREFIX}*"))[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return Checkpoint(target, step)


def folder_of(run: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return run / FOLDER / f"{_PREFIX}{step:08d}"


def newest(run: Path) -> Checkpoint | None:
    """The newest checkpoint of a run that is whole; a warning names those that are not. None: there is none."""
    for path in sorted((run / FOLDER).glob(f"{_PREFIX}*"), reverse=True):
        fault = _fault(path)
        if fault is None:
            return Checkpoint(path, int(json.loads((path / _MANIFEST).read_text(encoding="utf-8"))["step"]))
        logger.warning("the checkpoint %s is damaged (%s): going back to the one before", path, fault)
    return None


def find(place: Path) -> Checkpoint:
    """The newest whole checkpoint of a run, or the one whose folder is given. Raises InputError."""
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


def fill(model: nn.Module, weights: Mapping[str, Tensor], left_out: Sequence[str] = ()) -> None:
    """Load a state dict strictly, but for the parts `left_out`. Raises WeightsError that names what does not fit."""
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
    model.load_state_dict(given, strict=False)  # strictness is above


def within(name: str, parts: Sequence[str]) -> bool:
    """Whether a parameter's name lies in one of the parts."""
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def _optimizer_file(turn: str) -> str:
    return f"optimizer_{turn}.pt"


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
        sums = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))["sha256"]
        for name, wanted in sums.items():
            if _sha256(path / name) != wanted:
                return f"{name} has changed since it was written"
    except (OSError, ValueError, KeyError) as error:
        return str(error) or type(error).__name__
    return None
