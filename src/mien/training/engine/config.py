"""Options of a training stage: each is declared once, see `mien.options`.

A stage has a config of its own, which adds what only it knows to `StageConfig`:

    @dataclass(frozen=True)
    class MyConfig(StageConfig):
        window: int = option(128, "Side of the training windows.", unit="pixels", least=32)

What several stages share is a component, a dataclass that is nested (`LoopConfig`, `DatasetConfig`). The command line
is made from these declarations (`mien.cli.train`); on it, and in `configure` and `StageConfig.changed`, options are
called by their plain names whatever component they belong to, so a name must stand in one component only.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, asdict, dataclass, field, fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from mien.errors import InputError
from mien.options import Checked, declarations, declared, typed_name

SIZES = ("nano", "full")
PRECISIONS = ("bf16", "fp32")
CONFIG_FILE = "config.json"
_OLD_CONFIG_FILE = "options.json"  # runs of the first release: flat, with the options of all stages
OLD_NAMES = {"rows": "batch_size", "teach": "motion_supervision_weight", "only_teach": "only_motion_supervision"}
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
Config = TypeVar("Config", bound="StageConfig")


def parse_seconds(text: str) -> float:
    """A length of time.

    Args:
        text: 90s, 9m, 1.5h or plain seconds.

    Returns:
        Seconds, above 0.

    Raises:
        InputError: it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip().lower())
    seconds = float(found[1]) * _UNITS[found[2] or "s"] if found else 0.0
    if seconds <= 0:
        raise InputError(f"the time limit {text} cannot be read: give 90s, 9m or 2h.")
    return seconds


option = partial(declared, group="The stage")  # one that a stage's own config adds
_data = partial(declared, group="Data")
_loop = partial(declared, group="The loop")


def component(kind: type) -> Any:
    """A dataclass field that is a nested component.

    Args:
        kind: its class.

    Returns:
        The field.
    """
    return field(default_factory=kind)


@dataclass(frozen=True)
class DatasetConfig(Checked):
    """What is trained on."""

    data: tuple[str, ...] = _data((), "A folder of training data or a packed cast; DIR:0.3 is its part of the draws.")
    hold_out: int = _data(
        0, "Avatar groups from this number on are not trained on; 0: those marked for validation.", least=0
    )

    def sources(self, stage: str) -> list[tuple[Path, float]]:
        """Folders and files with their parts of the draws, which sum to 1.

        Args:
            stage: whose they are, for the message.

        Raises:
            InputError: one is missing, or there is none.
        """
        pairs = [_with_weight(text) for text in self.data]
        if not pairs:
            raise InputError(f"the stage {stage} needs --data: a folder of training data or a packed cast.")
        for path, _ in pairs:
            if not path.exists():
                raise InputError(f"{path} does not exist: give --data a folder of training data or a packed cast.")
        total = sum(weight for _, weight in pairs)
        return [(path, weight / total) for path, weight in pairs]


@dataclass(frozen=True)
class LoopConfig(Checked):
    """How the loop runs. None means: what the stage says."""

    steps: int | None = _loop(None, "Steps in all.", least=1)
    budget_minutes: float | None = _loop(
        None, "End after so much processor time, over all slices; the learning rate falls along.", unit="core-minutes",
        above=0,
    )  # fmt: skip
    time_limit: float | None = _loop(
        None, "Save and leave in time: 90s, 9m, 2h.", unit="s", above=0, parse=parse_seconds
    )
    batch_size: int | None = _loop(None, "Sources of a micro-batch on one device.", least=1)
    accumulate: int | None = _loop(None, "Micro-batches of a step on one device.", least=1)
    learning_rate: float | None = _loop(None, "Of the first optimizer step; the others keep their ratio.", above=0)
    warmup: int | None = _loop(None, "Until the learning rate is full.", unit="steps", least=0)
    floor: float = _loop(0.05, "Of the learning rate, at the end of the cosine.", least=0, most=1)
    clip_norm: float | None = _loop(None, "Largest norm of a gradient.", above=0)
    ema: float | None = _loop(
        None, "Decay of the moving average, 0 (no averaging) or a number such as 0.995.", least=0, below=1
    )
    precision: str = _loop("bf16", "Of activations.", choices=PRECISIONS)
    checkpointing: bool | None = _loop(None, "Compute activations again to save memory.")
    average_every: int = _loop(0, "Average weights, not gradients, over the processes.", unit="steps", least=0)
    shard: bool = _loop(False, "Split weights and optimizer states over the processes (FSDP2).")
    workers: int = _loop(0, "Processes that make batches.", least=0)
    seed: int = _loop(1, "Of everything random.", least=0)
    save_every: int = _loop(250, "Between checkpoints.", unit="steps", least=1)
    keep_every: float | None = _loop(None, "Keep a checkpoint for good this often.", unit="hours", above=0)
    show_every: int = _loop(500, "Between pictures; 0: none.", unit="steps", least=0)
    log_every: int = _loop(25, "Between lines of the log.", unit="steps", least=1)
    wandb: str | None = _loop(None, "A project of Weights & Biases to log to, beside TensorBoard.")


@dataclass(frozen=True)
class StageConfig(Checked):
    """What every stage knows. `stage` is its name."""

    stage: str
    out: str = option("", "The run's folder; the same command goes on where it stopped.")
    start: str | None = option(None, "A run or a model folder to start from.")
    dataset: DatasetConfig = component(DatasetConfig)
    loop: LoopConfig = component(LoopConfig)

    def sources(self) -> list[tuple[Path, float]]:
        """See `DatasetConfig.sources`."""
        return self.dataset.sources(self.stage)

    def get(self, name: str, default: Any = None) -> Any:
        """An option by its plain name.

        Args:
            name: of the option.
            default: where the stage has none of that name.

        Returns:
            Its value.
        """
        return self.flat().get(name, default)

    def flat(self) -> dict[str, Any]:
        """All options by their plain names."""
        return {one.name: getattr(owner, one.name) for owner, one in _with_owners(self)}

    def changed(self: Config, **values: Any) -> Config:
        """A copy with other values, by plain names.

        Raises:
            InputError: the stage has no such option, or a value is not allowed.
        """
        known = self.flat()
        if foreign := sorted(set(values) - set(known)):
            raise InputError(
                f"{typed_name(foreign[0])} is no option of {self.stage}: see mien train {self.stage} --help."
            )
        values = {n: tuple(v) if isinstance(known[n], tuple) else v for n, v in values.items()}
        return _rebuilt(self, values)  # type: ignore[no-any-return]

    def save(self, folder: Path, more: Mapping[str, Any] | None = None) -> None:
        """Write the run's config.json: the options by component.

        Args:
            folder: of the run.
            more: whatever else belongs into the record.
        """
        text = json.dumps({**asdict(self), **(more or {})}, indent=1)
        (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")


def options_of(kind: type) -> Iterator[tuple[Field[Any], Any]]:
    """A config's options in order, those of its components where these stand.

    Args:
        kind: the config's class.

    Yields:
        The field that declares an option, and its type.
    """
    hints, declaring = get_type_hints(kind), declarations(kind)
    for one in fields(kind):
        if one.name in declaring:
            yield one, hints[one.name]
        elif is_dataclass(hints[one.name]):
            yield from options_of(hints[one.name])


def saved_options(run: Path) -> dict[str, Any]:
    """What a run's record says, without what holds for one call only.

    Reads the records of the first release too, whose options had other names.

    Args:
        run: its folder.

    Returns:
        Values by plain names; empty: there is no record.
    """
    for name in (CONFIG_FILE, _OLD_CONFIG_FILE):
        try:
            content = json.loads((run / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # cut off while it was written: the checkpoints tell whether the run can go on
        flat = dict(content)
        for value in content.values():
            flat |= value if isinstance(value, dict) else {}
        flat.pop("time_limit", None)
        return {OLD_NAMES.get(str(key), str(key)): value for key, value in flat.items()}
    return {}


def rate_factor(step: int, progress: float, options: LoopConfig) -> float:
    """Of the learning rate: warm-up over `warmup` steps, then half a cosine from 1 down to `floor`.

    Args:
        step: number of steps that are done.
        progress: how much of the run lies behind, 0 to 1, in steps or in time: what the cosine follows.
        options: `warmup` and `floor`.

    Returns:
        A factor above 0, up to 1.
    """
    warm = min(1.0, (step + 1) / max(1, options.warmup or 0))
    fall = 0.5 * (1 + math.cos(math.pi * progress))
    return warm * (options.floor + (1 - options.floor) * fall)


def check_preset(config: StageConfig, preset: str, known: Sequence[str]) -> str:
    """Refuse a preset that a stage does not know.

    Args:
        config: of the stage.
        preset: as it was given.
        known: those that there are.

    Returns:
        The preset.

    Raises:
        InputError: it is another.
    """
    if preset not in known:
        raise InputError(f"--preset is {preset}: give {' or '.join(known)} for the stage {config.stage}.")
    return preset


def _with_owners(config: Any) -> Iterator[tuple[Any, Field[Any]]]:
    for one in fields(config):
        value = getattr(config, one.name)
        if is_dataclass(value):
            yield from _with_owners(value)
        elif one.name in declarations(type(config)):
            yield config, one


def _rebuilt(config: Any, values: Mapping[str, Any]) -> Any:
    changes = {}
    for one in fields(config):
        value = getattr(config, one.name)
        if is_dataclass(value):
            changes[one.name] = _rebuilt(value, values)
        elif one.name in values:
            changes[one.name] = values[one.name]
    return replace(config, **changes)


def _with_weight(text: str) -> tuple[Path, float]:
    found = re.fullmatch(r"(.+):(\d*\.?\d+)", text)
    if found and not Path(text).exists():
        weight = float(found[2])
        if weight <= 0:
            raise InputError(f"--data {text}: its part of the draws must be above 0.")
        return Path(found[1]), weight
    return Path(text), 1.0
