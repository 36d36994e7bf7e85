"""What a run does where the machine does not hold it.

It takes single precision in place of half, weights in main memory, and smaller windows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import torch

from mien.animation.animator import Animator, animator_of
from mien.animation.loading import choose_device
from mien.errors import InputError, WeightsError
from mien.jobs.options import OFFLOADS, AnimateOptions
from mien.pipelines.finishing import NotFinite, is_out_of_memory
from mien.pipelines.placement import check_placement, place

Options = TypeVar("Options", bound=AnimateOptions)
OFFLOADED = "memory ran out, so weights are kept in main memory (--offload {offload}): the same frames, more slowly"


def next_attempt(
    error: ArithmeticError | MemoryError | RuntimeError,
    options: Options,
    animator: Animator,
    load: Callable[[Options], Animator] | None,
    note: Callable[[str], None],
) -> tuple[Options, Animator]:
    """What to try after an error.

    That is float32 where half precision gave no numbers; where memory ran out on a GPU, weights in main memory,
    network by network, then layer by layer; then windows half as long.

    Args:
        error: what the last attempt raised.
        options: with every default resolved.
        animator: that was used.
        load: loads one anew; None: the pipeline is the caller's and must stay as it is.
        note: told in a sentence what is done otherwise.

    Raises:
        WeightsError: if nothing is left to try, or InputError; and the error itself if it is another one.
    """
    if isinstance(error, NotFinite):
        attempt = _in_single_precision(options, animator, load)
        note("half precision (--dtype) gave frames that are no numbers, so everything was computed in float32")
        return attempt
    if not is_out_of_memory(error):
        raise error
    offload = None if load is None else next_offload(options)
    if offload is not None:
        pipe, device = animator.pipe, animator.pipe._execution_device
        pipe.remove_all_hooks()
        place(pipe.to("cpu"), device, offload)
        note(OFFLOADED.format(offload=offload))
        return replace(options, offload=offload), animator
    smaller = _with_smaller_window(options)
    note(f"memory ran out, so {smaller.window} frames at a time were denoised in place of {options.window}")
    return smaller, animator


def next_offload(options: AnimateOptions) -> str | None:
    """The next kind of `--offload` that needs less memory on the device.

    Args:
        options: with the present one.

    Returns:
        "model" or "group"; None: there is none here.
    """
    for kind in OFFLOADS[OFFLOADS.index(options.offload) + 1 :]:
        try:
            check_placement(choose_device(options.device.partition(":")[0]), kind, "none")
        except InputError:
            continue
        return kind
    return None


def _in_single_precision(
    options: Options, animator: Animator, load: Callable[[Options], Animator] | None
) -> tuple[Options, Animator]:
    if options.dtype == "float32":
        raise WeightsError(
            f"the model {options.model} gives frames that are no numbers (NaN), in float32 too: its weights are damaged"
            " or made for something else, so fetch or convert them again"
        )
    options = replace(options, dtype="float32")
    # Loaded anew where that is possible: what was too large for half precision is lost in its weights.
    if load is None:
        again = animator_of(copy.deepcopy(animator.pipe).to(torch.float32), animator.reader)
    else:
        again = load(options)
    again.set_source(animator.source)
    return options, again


def _with_smaller_window(options: Options) -> Options:
    window, overlap = options.window or 1, options.overlap or 0
    if window == 1:
        raise InputError(
            f"there is not enough memory for the model {options.model} on {options.device}, even for one frame"
            " at a time: close other programs, or use --device cpu or a smaller model"
        )
    return replace(options, window=window // 2, overlap=min(overlap * (window // 2) // window, window // 2 - 1))
