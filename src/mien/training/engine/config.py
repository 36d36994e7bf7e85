"""Options of a training run: one frozen dataclass for the command line, Python and the record beside the weights."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mien.errors import InputError

SIZES = ("nano", "full")
CONTROL_SOURCES = ("avatars", "face-vid2vid", "self")
CONTROLS = ("image", "landmarks")
PRECISIONS = ("bf16", "fp32")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class TrainOptions:
    """None means: what the stage's preset says.

    data: folders or a packed cast, each with ":0.3" behind it if it is to have that share of the draws. start: a run,
    or its checkpoint, whose averaged weights are taken over. vae: a run of the stage `vae`. backbone: a local
    diffusers folder of Stable Diffusion 1.5. steps: in all, not in this slice. time_limit: seconds, saving included.
    rows: of a micro-batch on one device. accumulate: micro-batches of a step on one device. average_every: average
    weights over the processes every so many steps instead of gradients at every step; 0: gradients. hold_out: avatar
    groups from this number on are not trained on; 0: those that are marked for validation.

    Of the X-Portrait stages: control_source, control: what the motion controls are shown, see `control_images`.
    scaling: heterogeneous scaling. local: whether there is a local control. joint: train backbone, R and C together.
    window: side of the pieces cut from the training pictures, pixels; None: the preset's. teach: weight of the motion
    supervision. only_teach: nothing but it. guidance: what few-step distillation folds in. frames: targets of a row.
    f: a folder with Face Vid2Vid's weights. reenactor: a folder with a reenactor, whose pictures sampling starts from.
    Of the stage vae: decoder_only: leave the encoder as it is. Of dex/motion and face-vid2vid: vgg:
    VGG16's, of the latter rather VGG19's weights (.safetensors) for the perceptual losses.
    """

    stage: str
    data: tuple[str, ...]
    out: str
    size: str = "nano"
    preset: str | None = None
    start: str | None = None
    vae: str | None = None
    backbone: str | None = None
    steps: int | None = None
    time_limit: float | None = None
    rows: int | None = None
    accumulate: int | None = None
    learning_rate: float | None = None
    warmup: int | None = None
    floor: float = 0.05  # of the learning rate, at the end of the cosine
    clip_norm: float | None = None
    ema: float | None = None
    precision: str = "bf16"
    checkpointing: bool | None = None
    average_every: int = 0
    workers: int = 0
    seed: int = 1
    save_every: int = 250
    show_every: int = 500
    log_every: int = 25
    hold_out: int = 0
    control_source: str = "avatars"
    control: str = "image"
    scaling: bool = True
    local: bool = True
    joint: bool = False
    window: int | None = None
    teach: float | None = None
    only_teach: bool = False
    guidance: float | None = None
    frames: int | None = None
    f: str | None = None
    reenactor: str | None = None
    decoder_only: bool = False
    vgg: str | None = None

    def __post_init__(self) -> None:
        for name, allowed in (
            ("size", SIZES),
            ("control_source", CONTROL_SOURCES),
            ("control", CONTROLS),
            ("precision", PRECISIONS),
        ):
            if getattr(self, name) not in allowed:
                shown = name.replace("_", "-")
                raise InputError(f"--{shown} is {getattr(self, name)}: give {' or '.join(allowed)}.")
        for name in ("steps", "rows", "accumulate", "time_limit", "learning_rate", "frames", "save_every", "log_every"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise InputError(f"--{name.replace('_', '-')} is {value}: give a number above 0.")
        if self.ema is not None and not 0 <= self.ema < 1:
            raise InputError(f"--ema is {self.ema}: give 0 (no averaging) or a number below 1, such as 0.995.")

    def sources(self) -> list[tuple[Path, float]]:
        """Data folders or files with their shares of the draws, summing to 1. InputError where one is missing."""
        pairs = [_with_share(text) for text in self.data]
        if not pairs:
            raise InputError(f"the stage {self.stage} needs --data: a folder of training data or a packed cast.")
        for path, _ in pairs:
            if not path.exists():
                raise InputError(f"{path} does not exist: give --data a folder of training data or a packed cast.")
        total = sum(share for _, share in pairs)
        return [(path, share / total) for path, share in pairs]

    def save(self, path: Path, more: Mapping[str, Any] | None = None) -> None:
        """Write the options, and whatever else belongs into the record, as JSON."""
        path.write_text(json.dumps({**asdict(self), **(more or {})}, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> TrainOptions:
        """The options of a run from its options.json."""
        content = json.loads(path.read_text(encoding="utf-8"))
        known = {field.name for field in fields(cls)}
        kept = {name: value for name, value in content.items() if name in known}
        return cls(**{**kept, "data": tuple(kept["data"])})


def _with_share(text: str) -> tuple[Path, float]:
    found = re.fullmatch(r"(.+):(\d*\.?\d+)", text)
    if found and not Path(text).exists():
        share = float(found[2])
        if share <= 0:
            raise InputError(f"--data {text}: its share must be above 0.")
        return Path(found[1]), share
    return Path(text), 1.0


def parse_seconds(text: str) -> float:
    """90s, 9m, 1.5h or plain seconds, as seconds. Raises InputError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip().lower())
    seconds = float(found[1]) * _UNITS[found[2] or "s"] if found else 0.0
    if seconds <= 0:
        raise InputError(f"the time limit {text} cannot be read: give 90s, 9m or 2h.")
    return seconds
