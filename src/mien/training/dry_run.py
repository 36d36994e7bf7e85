"""What a stage will cost, counted on the meta device: nothing is computed, no weight and no picture is loaded.

Counted: parameters, and the FLOPs of forward, backward and recomputation (torch's FlopCounterMode; a multiply-add is
2; fused attention is taken apart, its backward counted with the recomputed scores). Counted and then scaled: the bytes
of all tensors that autograd keeps for one micro-batch, in float32, times 3/4 for bf16, where matrix products and
convolutions keep halves and norms and activations keep float32; an estimate, to which 10 % is added for what is
transient. With gradient checkpointing only the inputs of the blocks are kept, and the largest block once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from mien.errors import InputError
from mien.training.dry_run_beside import beside_steps
from mien.training.engine.activation_checkpointing import outermost
from mien.training.engine.checkpoints import within
from mien.training.engine.config import StageConfig
from mien.training.engine.stage import Batch, OptimizerStep, Stage, trained_names
from mien.training.registry import make_stage
from mien.training.x_portrait.recipes import PAPER_DEVICES

CARDS = (24, 40, 80)  # GB
_A100 = 312e12  # FLOP/s in bf16, NVIDIA's data sheet
_UTILISATION = 0.35
_KEPT_IN_BF16 = 0.75
_SPARE = 1.1
_CONTEXT = 1.5e9  # bytes: CUDA, cuDNN and NCCL themselves


@dataclass(frozen=True)
class Count:
    """Of one micro-batch on one device.

    Attributes:
        flops: of a step's forward and backward.
        again: of what is computed again with checkpointing.
        kept: bytes of float32 activations without checkpointing.
        kept_less: the same with it.
        images: targets.
    """

    flops: float
    again: float
    kept: float
    kept_less: float
    images: int


@dataclass(frozen=True)
class Choice:
    """A set of options and the bytes it needs on a device."""

    text: str
    options: StageConfig
    bytes: float


def report(options: StageConfig) -> str:
    """The plan of a training: parts, memory, FLOPs and days.

    Args:
        options: of the stage.

    Returns:
        Lines to read.

    Raises:
        InputError: for stages that have nothing to count.
    """
    # F is counted for itself, by its sizes: its weights need not be there
    apart = {"control_source": "self"} if options.get("control_source") == "face-vid2vid" else {}
    stage = make_stage(options.changed(**apart))
    sketch = stage.sketch()
    if sketch is None:
        raise InputError(f"{stage.name} has no dry run: it is small enough to be tried.")
    model, batch = sketch
    names = set(trained_names(model, stage.optimizer_steps))
    lines = [f"{stage.name}, {options.get('size', 'nano')} size; counted on the meta device, no weights loaded", ""]
    lines += [f"{'part':<24}{'parameters':>14}  "]
    for part, child in model.named_children():
        numbers = {f"{part}.{name}": p.numel() for name, p in child.named_parameters()}
        learns = sum(count for name, count in numbers.items() if name in names)
        total = sum(numbers.values())
        state = "trained" if learns == total and total else "frozen" if not learns else f"{learns / 1e6:.1f} M trained"
        lines.append(f"{part:<24}{total / 1e6:>12.1f} M  {state}")
    trained = sum(p.numel() for name, p in model.named_parameters() if name in names)
    lines.append(
        f"{'all':<24}{sum(p.numel() for p in model.parameters()) / 1e6:>12.1f} M  {trained / 1e6:.1f} M trained"
    )
    count = count_step(stage, model, batch)
    accumulate = options.loop.accumulate or stage.accumulate
    images = count.images * accumulate
    lines += ["", f"A step on one device: {images} frames, {count.flops * accumulate / 1e12:.2f} TFLOP"]
    lines[-1] += f" ({count.again * accumulate / 1e12:.2f} more with checkpointing)."
    lines += ["", "Memory of a device (activations are an estimate):"]
    choices = list(choose(options.changed(**apart), stage, model, count))
    for choice in choices:
        lines.append(f"  {choice.bytes / 1e9:6.1f} GB  {choice.text}")
    for card in CARDS:
        fitting = next((choice for choice in choices if choice.bytes <= card * 1e9), None)
        what = fitting.text if fitting else "does not fit"
        lines.append(f"  {card} GB card: {what}")
    seconds = _step_flops(stage, options, count, accumulate) / (_A100 * _UTILISATION)
    beside = beside_steps(options, stage, model, images, seconds, _A100 * _UTILISATION)
    lines += ["", "Beside the steps:", *(f"  {line}" for line in beside)]
    return "\n".join([*lines, "", *_days(stage, options, count, accumulate)])


def _step_flops(stage: Stage, options: StageConfig, count: Count, accumulate: int) -> float:
    again = stage.checkpointing if options.loop.checkpointing is None else options.loop.checkpointing
    return (count.flops + (count.again if again else 0)) * accumulate


def _days(stage: Stage, options: StageConfig, count: Count, accumulate: int) -> list[str]:
    steps = options.loop.steps or stage.steps
    again = stage.checkpointing if options.loop.checkpointing is None else options.loop.checkpointing
    flops = _step_flops(stage, options, count, accumulate)
    days = steps * flops / (_A100 * _UTILISATION) / 86400
    images = steps * count.images * accumulate * PAPER_DEVICES
    return [
        f"{steps:,} steps on {PAPER_DEVICES} A100, {'with' if again else 'without'} checkpointing, at "
        f"{_UTILISATION:.0%} of {_A100 / 1e12:.0f} TFLOP/s: {days:.2f} days ({days * 24:.1f} hours), {images:,} frames."
    ]


def choose(options: StageConfig, stage: Stage, model: nn.Module, count: Count) -> Iterator[Choice]:
    """Option sets from the fastest to the leanest.

    Args:
        options: as they were given.
        stage: of them.
        model: on the meta device.
        count: of a step.

    Yields:
        With the bytes that each needs on a device.
    """
    weights = _weight_bytes(stage, model, options, ema=True)
    yield Choice("--no-checkpointing", options, weights + _activations(count.kept, options))
    yield Choice("--checkpointing", options, weights + _activations(count.kept_less, options))
    lean, text = options, "--checkpointing"
    if count.images > 1 and not getattr(getattr(stage, "recipe", None), "clip", True):
        parts = count.images * (options.loop.accumulate or stage.accumulate)
        lean = options.changed(batch_size=1, frames=1, accumulate=parts)
        text += f" --batch-size 1 --frames 1 --accumulate {parts}"
        leaner = make_stage(lean)
        sketch = leaner.sketch()
        assert sketch is not None
        count = count_step(leaner, model, sketch[1])
        yield Choice(text, lean, weights + _activations(count.kept_less, lean))
    bare = _weight_bytes(stage, model, options, ema=False)
    yield Choice(f"{text} --ema 0", lean, bare + _activations(count.kept_less, lean))
    split = _CONTEXT + (bare - _CONTEXT) / PAPER_DEVICES + _largest_block(model, stage)
    yield Choice(
        f"{text} --ema 0 --shard on {PAPER_DEVICES} devices", lean, split + _activations(count.kept_less, lean)
    )


def _largest_block(model: nn.Module, stage: Stage) -> float:
    """Bytes of what is gathered at a time under --shard: two blocks, and what lies outside of them."""
    blocks = list(outermost(model, stage.block_types()))
    sizes = [sum(p.numel() for p in block.parameters()) for block in blocks]
    return 4.0 * (2 * max(sizes, default=0) + sum(p.numel() for p in model.parameters()) - sum(sizes))


def _activations(kept: float, options: StageConfig) -> float:
    return kept * (_KEPT_IN_BF16 if options.loop.precision == "bf16" else 1) * _SPARE


def _weight_bytes(stage: Stage, model: nn.Module, options: StageConfig, ema: bool) -> float:
    """Bytes of weights, gradients and optimizer states.

    Frozen weights take 4 bytes (2 where the run holds them in half precision), trained ones 4 and as many for the
    gradient, 8 for Adam, 4 for the average and 2 for the copy that autocast keeps.
    """
    names, half = set(trained_names(model, stage.optimizer_steps)), options.loop.precision == "bf16"
    total = _CONTEXT
    for name, parameter in model.named_parameters():
        if name in names:
            total += parameter.numel() * (4 + 4 + 8 + (4 if ema else 0) + (2 if half else 0))
        else:
            total += parameter.numel() * (2 if half and within(name, (*stage.outside(), *stage.halved())) else 4)
    return total


def count_step(stage: Stage, model: nn.Module, batch: Batch) -> Count:
    """One micro-batch on the meta device, all optimizer steps, forward and backward.

    Args:
        stage: of the model.
        model: on the meta device.
        batch: the same.

    Returns:
        FLOPs and bytes.
    """
    plain = [_count_optimizer_step(model, update, stage, dict(batch)) for update in stage.optimizer_steps]
    return Count(
        sum(c.flops / update.every for c, update in zip(plain, stage.optimizer_steps, strict=True)),
        sum(c.again / update.every for c, update in zip(plain, stage.optimizer_steps, strict=True)),
        max(c.kept for c in plain),
        max(c.kept_less for c in plain),
        stage.images(batch),
    )


def _count_optimizer_step(model: nn.Module, update: OptimizerStep, stage: Stage, batch: Batch) -> Count:
    names = set(trained_names(model, [update]))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)
    kinds, ledger = stage.block_types(), _Ledger(model)
    counter = FlopCounterMode(display=False)
    with counter, _attention_taken_apart(), ledger.watching(), ledger.blocks(model, kinds, counter):
        losses = update.loss(model, batch, torch.Generator().manual_seed(0))
        torch.stack([value.float() for value in losses.values()]).sum().backward()  # type: ignore[no-untyped-call]
    model.zero_grad(set_to_none=True)
    less = ledger.outside + ledger.inputs + ledger.largest if kinds else ledger.kept
    return Count(float(counter.get_total_flops()), float(ledger.again), ledger.kept, less, stage.images(batch))


class _Ledger:
    """Bytes that autograd keeps, and the FLOPs of the blocks' forward.

    All bytes, outside of the blocks that checkpointing would compute again, those blocks' inputs, and the largest
    block.
    """

    def __init__(self, model: nn.Module) -> None:
        self._known = {p.untyped_storage()._cdata for p in [*model.parameters(), *model.buffers()]}
        self.kept = self.outside = self.inputs = self.largest = self.again = 0.0
        self._block: float | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count what is saved while it lasts."""

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in self._known:
                self._known.add(storage._cdata)  # what is kept stays alive, so the number is not given twice
                self.kept += storage.nbytes()
                if self._block is None:
                    self.outside += storage.nbytes()
                else:
                    self._block += storage.nbytes()
            return tensor

        with saved_tensors_hooks(pack, lambda tensor: tensor):
            yield

    @contextmanager
    def blocks(self, model: nn.Module, kinds: tuple[type[nn.Module], ...], counter: FlopCounterMode) -> Iterator[None]:
        """Count the blocks of these kinds for themselves."""
        wrapped = []
        for module in model.modules():
            if isinstance(module, kinds) and "forward" not in vars(module):
                module.forward = self._counted(module.forward, counter)  # type: ignore[method-assign]
                wrapped.append(module)
        try:
            yield
        finally:
            for module in wrapped:
                del module.forward  # type: ignore[misc]

    def _counted(self, inner: Callable[..., Any], counter: FlopCounterMode) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            if self._block is not None or not torch.is_grad_enabled():
                return inner(*args, **kwargs)
            self._block, before = 0.0, counter.get_total_flops()
            result = inner(*args, **kwargs)
            if isinstance(result, Tensor) and result.requires_grad:
                self.inputs += sum(a.numel() * a.element_size() for a in args if isinstance(a, Tensor))
                self.again += counter.get_total_flops() - before
            self.largest, self._block = max(self.largest, self._block), None
            return result

        return forward


class _Attention(torch.autograd.Function):
    """Fused attention as it is counted: two products forward, five backward (scores again), q, k, v and out kept."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = (query @ key.transpose(-2, -1)) @ value
        ctx.save_for_backward(query, key, value, out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (grad,) = grads
        query, key, value, _ = ctx.saved_tensors
        scores = query @ key.transpose(-2, -1)
        inner = grad @ value.transpose(-2, -1)
        return inner @ key, inner.transpose(-2, -1) @ query, scores.transpose(-2, -1) @ grad


@contextmanager
def _attention_taken_apart() -> Iterator[None]:
    def attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
        return _Attention.apply(query, key, value)  # type: ignore[no-any-return, no-untyped-call]

    with patch("torch.nn.functional.scaled_dot_product_attention", attention):
        yield
