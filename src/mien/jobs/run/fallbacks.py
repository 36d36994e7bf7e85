"""What a run does where the machine does not hold it: single precision in place of half, smaller windows."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import torch

from mien.errors import InputError, WeightsError
from mien.jobs.options import AnimateOptions
from mien.pipelines.finishing import NotFinite, is_out_of_memory, release_memory

if TYPE_CHECKING:
    from mien.pipelines.dex_portrait import DeXPortraitPipeline
    from mien.pipelines.x_portrait import XPortraitPipeline

Result = TypeVar("Result")
Options = TypeVar("Options", bound=AnimateOptions)
Pipe = TypeVar("Pipe", "XPortraitPipeline", "DeXPortraitPipeline")


def within_means(
    work: Callable[[Options, Pipe], Result],
    options: Options,
    pipe: Pipe,
    *,
    load: Callable[[Options], Pipe] | None,
    note: Callable[[str], None],
) -> Result:
    """Do work(options, pipe), again in float32 where half precision gives no numbers, and again in windows half as long
    where memory runs out; `note` is told.

    options: with every default resolved. load: loads a pipeline; None: it is the caller's and must stay as it is.
    Raises WeightsError or InputError where nothing is left to try.
    """
    while True:
        try:
            return work(options, pipe)
        except NotFinite:
            options, pipe = _in_single_precision(options, pipe, load)
            note("half precision (--dtype) gave frames that are no numbers, so everything was computed in float32")
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            smaller = _with_smaller_window(options)
            note(f"memory ran out, so {smaller.window} frames at a time were denoised in place of {options.window}")
            options = smaller
        release_memory()  # here, where the error no longer holds what it was raised over


def _in_single_precision(options: Options, pipe: Pipe, load: Callable[[Options], Pipe] | None) -> tuple[Options, Pipe]:
    if options.dtype == "float32":
        raise WeightsError(
            f"the model {options.model} gives frames that are no numbers (NaN), in float32 too: its weights are damaged"
            " or made for something else, so fetch or convert them again"
        )
    options = replace(options, dtype="float32")
    # Loaded anew where that is possible: what was too large for half precision is lost in its weights.
    return options, copy.deepcopy(pipe).to(torch.float32) if load is None else load(options)


def _with_smaller_window(options: Options) -> Options:
    window, overlap = options.window or 1, options.overlap or 0
    if window == 1:
        raise InputError(
            f"there is not enough memory for the model {options.model} on {options.device}, even for one frame"
            " at a time: close other programs, or use --device cpu or a smaller model"
        )
    return replace(options, window=window // 2, overlap=min(overlap * (window // 2) // window, window // 2 - 1))
