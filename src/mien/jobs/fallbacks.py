"""What a run does where the machine does not hold it: single precision in place of half, smaller windows."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import torch

from mien.errors import InputError, WeightsError
from mien.jobs.models import load_pipeline
from mien.jobs.options import AnimateOptions
from mien.pipelines.finishing import NotFinite, is_out_of_memory, release_memory

if TYPE_CHECKING:
    from mien.pipelines.x_portrait import XPortraitPipeline

Result = TypeVar("Result")


def within_means(
    work: Callable[[AnimateOptions, XPortraitPipeline], Result],
    options: AnimateOptions,
    pipe: XPortraitPipeline,
    *,
    given: bool,
    note: Callable[[str], None],
) -> Result:
    """Do work(options, pipe), again in float32 where half precision gives no numbers, and again in windows half as long
    where memory runs out; `note` is told.

    options: with every default resolved. given: the pipeline is the caller's and must stay as it is.
    Raises WeightsError or InputError where nothing is left to try.
    """
    while True:
        try:
            return work(options, pipe)
        except NotFinite:
            options, pipe = _in_single_precision(options, pipe, given)
            note("half precision (--dtype) gave frames that are no numbers, so everything was computed in float32")
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            smaller = _with_smaller_window(options)
            note(f"memory ran out, so {smaller.window} frames at a time were denoised in place of {options.window}")
            options = smaller
        release_memory()  # here, where the error no longer holds what it was raised over


def _in_single_precision(
    options: AnimateOptions, pipe: XPortraitPipeline, given: bool
) -> tuple[AnimateOptions, XPortraitPipeline]:
    if options.dtype == "float32":
        raise WeightsError(
            f"the model {options.model} gives frames that are no numbers (NaN), in float32 too: its weights are damaged"
            " or made for something else, so fetch or convert them again"
        )
    options = replace(options, dtype="float32")
    # Loaded anew where that is possible: what was too large for half precision is lost in its weights.
    return options, copy.deepcopy(pipe).to(torch.float32) if given else load_pipeline(options)


def _with_smaller_window(options: AnimateOptions) -> AnimateOptions:
    window, overlap = options.window or 1, options.overlap or 0
    if window == 1:
        raise InputError(
            f"there is not enough memory for the model {options.model} on {options.device}, even for one frame"
            " at a time: close other programs, or use --device cpu or a smaller model"
        )
    return replace(options, window=window // 2, overlap=min(overlap * (window // 2) // window, window // 2 - 1))
