"""What a run puts into its checkpoints: what changes, in each; what stays as it is, once a run; the rest by its name.

In half precision or split over processes (`--shard`) only the networks at work are: files hold whole tensors in the
precision in which they were loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mien.errors import WeightsError
from mien.training.engine import checkpoints, sharding
from mien.training.engine.distributed import Processes
from mien.training.engine.ema import Average
from mien.training.engine.stage import Stage


class Saver:
    """Writes a run's checkpoints, in the main process; the others take part where tensors are split."""

    def __init__(self, run: Path, stage: Stage, processes: Processes, keep_every: float | None) -> None:
        """keep_every: see `checkpoints.save`."""
        self._run, self._stage, self._processes, self._keep_every = run, stage, processes, keep_every
        self._still: set[str] = set()
        self._said: dict[str, Any] = {}  # what manifests say of what they leave out

    def set_apart(
        self, model: nn.Module, trained: Sequence[str], found: checkpoints.Checkpoint | None, start: Path | None
    ) -> None:
        """Write what stays as it is, unless the run that goes on has it.

        Args:
            model: whole and in the precision of its files.
            trained: full names of the parameters that learn.
            found: the checkpoint that the run goes on from.
            start: what it started from; what that knows of the stage's unused parts is handed on.

        Raises:
            WeightsError: a file that is loaded anew is not the one that the run began with.
        """
        self._still = _still(model, trained, self._stage)
        if not self._processes.main:
            return
        said = {} if found is None else {k: v for k, v in found.manifest().items() if k in ("frozen", "loaded_anew")}
        if found is not None and self._still <= set(said.get("frozen", {}).get("tensors", ())):
            self._said = said
            _check_loaded_anew(self._stage, said.get("loaded_anew", ()))
            return
        state = model.state_dict()
        kept = {name: state[name] for name in sorted(self._still)}
        if found is not None:
            kept = {**{n: v for n, v in found.weights().items() if _within(n, self._stage.unused())}, **kept}
        elif start is not None:
            kept = {**self._stage.handed_on(start), **kept}
        self._run.mkdir(parents=True, exist_ok=True)
        self._said = checkpoints.save_frozen(self._run, kept)
        if files := self._stage.loaded_anew():
            self._said["loaded_anew"] = {part: checkpoints.identity(path) for part, path in files.items()}

    def save(
        self,
        step: int,
        model: nn.Module,
        average: Average,
        optimizers: dict[str, torch.optim.Optimizer],
        told: dict[str, Any],
    ) -> Path:
        """Write the checkpoint of a step; all processes call it, and none leaves before it is written.

        Args:
            step: steps that are done.
            model: that is trained.
            average: of its weights.
            optimizers: by the name of their optimizer step.
            told: what else the manifest is to say.

        Returns:
            The checkpoint's folder.
        """
        main, left_out = self._processes.main, self._stage.outside()
        self._processes.copy_from_main(sharding.whole_buffers(model))  # running means differ a little
        moving = [
            (name, value)
            for name, value in model.state_dict().items()
            if name not in self._still and not _within(name, left_out)
        ]
        weights = lambda: sharding.gathered(moving, main)  # noqa: E731
        averages = lambda: sharding.gathered(average.weights.items(), main)  # noqa: E731
        states = {name: _later(optimizer, main) for name, optimizer in optimizers.items()}
        path = checkpoints.folder_of(self._run, step)
        if main:
            checkpoints.save(self._run, step, weights, averages, states, {**self._said, **told}, self._keep_every)
        else:
            for part in (weights, averages, *states.values()):
                part()
        self._processes.wait()
        return path


def _later(optimizer: torch.optim.Optimizer, keep: bool) -> Any:
    return lambda: sharding.gathered_state(optimizer, keep)


def _check_loaded_anew(stage: Stage, said: Any) -> None:
    for part, file in stage.loaded_anew().items():
        # runs of earlier releases name the parts only
        if isinstance(said, dict) and part in said and checkpoints.identity(file)["sha256"] != said[part]["sha256"]:
            raise WeightsError(
                f"{file} is not the file that the run began with ({said[part]['path']}): give that one, or another "
                "--out and this run as --start."
            )


def _within(name: str, parts: Sequence[str]) -> bool:
    return checkpoints.within(name, parts)


def _still(model: nn.Module, trained: Sequence[str], stage: Stage) -> set[str]:
    """Names of the parameters that stay as they are throughout the run, and are not loaded anew each time."""
    learning = set(trained)
    moving = {p.untyped_storage().data_ptr() for n, p in model.named_parameters() if n in learning}
    parts = (*stage.outside(), *stage.follows())
    return {
        name
        for name, parameter in model.named_parameters()
        if parameter.untyped_storage().data_ptr() not in moving and not _within(name, parts)
    }
