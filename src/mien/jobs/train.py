"""`mien train`: one stage, from data to weights that inference loads."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import InputError
from mien.jobs.run.progress import Progress
from mien.training.engine.config import StageConfig, saved_options

if TYPE_CHECKING:
    from mien.training.engine.outcome import Outcome

logger = logging.getLogger(__name__)

EXPORT = "export"


class _Reporter:
    """The loop's watcher, as a `Progress`."""

    def __init__(self, options: StageConfig, progress: Progress) -> None:
        self._options, self._progress = options, progress

    def begin(self, total: float, done: float) -> None:
        """See `mien.training.engine.outcome.Watcher`."""
        self._progress.stage(self._options.stage, total)
        self._progress.update(done)

    def update(self, done: float) -> None:
        """See `mien.training.engine.outcome.Watcher`."""
        self._progress.update(done)


def run_training(options: StageConfig, progress: Progress, began: float | None = None) -> Outcome:
    """Train a stage until its steps or its time are over, and write RUN/export when the steps are.

    The same options go on with the run in `options.out`.

    Args:
        options: the stage's config.
        progress: told how many steps are done.
        began: `time.monotonic()` from which the time limit counts.

    Returns:
        How it ended.

    Raises:
        InputError: it cannot begin, or the folder holds a run of another stage.
    """
    import torch

    try:
        from mien.training.engine.trainer import train
    except ModuleNotFoundError as error:
        raise InputError(f"training needs {error.name}: pip install 'mien[train]'.") from error
    from mien.training.registry import make_stage

    _check_run(options)
    if not torch.cuda.is_available():
        import cv2

        cv2.setNumThreads(0)  # the processes are the threads
    stage = make_stage(options)
    outcome = train(stage, options, _Reporter(options, progress), began)
    if outcome.finished and outcome.main:
        write_export(options, outcome)
        progress.note(f"{options.stage} is done: {Path(options.out) / EXPORT}")
    elif outcome.main:
        progress.note(f"{options.stage} stands at step {outcome.step}; the same command goes on: {outcome.checkpoint}")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    return outcome


def write_export(options: StageConfig, outcome: Outcome | None = None) -> Path:
    """Write RUN/export from the newest checkpoint: the averaged weights as inference loads them, and training.json.

    Args:
        options: of the run.
        outcome: of the training, for the record; None: it is exported later.

    Returns:
        The folder.
    """
    from mien.training.engine import checkpoints
    from mien.training.registry import make_stage

    # in the precision of the files: what a run holds in half precision would lose digits on its way
    stage, found = make_stage(options.changed(precision="fp32")), checkpoints.find(Path(options.out))
    model = stage.build()
    checkpoints.fill(model, found.averaged_weights(), (*stage.outside(), *stage.unused()))
    folder = Path(options.out) / EXPORT
    stage.export(model.eval().requires_grad_(False), folder)
    record = {"config": asdict(options), "step": found.step, "written": time.strftime("%Y-%m-%d")}
    if outcome is not None:
        record |= {"loss": outcome.losses, "images_per_second": outcome.images_per_second}
        record["core_hours"] = round(outcome.core_seconds / 3600, 4)
    (folder / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return folder


def what_is_left(options: StageConfig) -> str:
    """What an interruption leaves of a run.

    Args:
        options: of the run.

    Returns:
        One sentence.
    """
    from mien.training.engine import checkpoints

    step = checkpoints.newest_step(Path(options.out))
    if step is None:
        return f"no checkpoint has been written to {options.out} yet; the same command begins anew"
    return f"{options.out} holds all up to step {step}; the same command goes on from there"


def _check_run(options: StageConfig) -> None:
    if Path(options.out).is_file():
        raise InputError(f"{options.out} is a file: give --out a folder.")
    before = saved_options(Path(options.out))
    for name, said in (("stage", "STAGE"), ("size", "--size")):
        now = options.stage if name == "stage" else options.get(name)
        if before and now is not None and before.get(name) != now:
            held = f"a run of {before.get('stage')} ({before.get('size', 'nano')})"
            raise InputError(f"{options.out} holds {held}, and {said} is {now}: give another --out.")


def describe_training(options: StageConfig) -> str:
    """What `--dry-run` prints: parts, memory, FLOPs and days, all counted without weights.

    Args:
        options: of the run.

    Returns:
        Text for people.
    """
    from mien.training.dry_run import report

    return report(options)
