"""The options of `mien benchmark`."""

from __future__ import annotations

from dataclasses import dataclass

from mien.jobs.options import AnimateOptions
from mien.options import Checked, again, declared


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions(Checked):
    """What is measured; what each option means says its declaration. Raises InputError for what makes no sense."""

    model: str = again(AnimateOptions, "model")
    device: str = again(AnimateOptions, "device")
    dtype: str = again(AnimateOptions, "dtype")
    frames: int = declared(60, "Frames of the demo's driving video.", "Measuring", least=2, most=60)
    repeats: int = declared(3, "Measurements of each, whose median counts.", "Measuring", least=1, most=100)
    start: bool = declared(True, "Also how long a command for one picture takes, in processes of its own.", "Measuring")
