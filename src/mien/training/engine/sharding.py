"""Weights, gradients, averages and optimizer states split over the processes (`--shard`): FSDP2, torch's `fully_shard`.

Each block (`Stage.block_types`), and each large layer outside of the blocks, is gathered when it computes and given
back after it; the rest is gathered for a whole step. A stage walks through its networks by other methods than
`forward`, and FSDP2 gathers around `forward` only, hence `ShardedModel`: whatever the stage computes is called from
inside its `forward`.

Checkpoints are the same with and without: tensors are put together as they are written and split as they are read, so a
run may go on with another number of processes.

How to split is accelerate's: `accelerate launch --use_fsdp --fsdp_version 2 --fsdp_offload_params true ...`, or its
config file, asks for it and sets resharding and offloading; accelerate's own `prepare` is not used, for it knows
neither CPUs nor several optimizers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from accelerate.utils import FullyShardedDataParallelPlugin
from torch import Tensor, nn

from mien.errors import InputError
from mien.training.engine.activation_checkpointing import outermost
from mien.training.engine.config import LoopConfig

Result = TypeVar("Result")
_LAYERS = (nn.Linear, nn.Conv2d, nn.Conv3d)
_LARGE = 1_000_000  # numbers: a layer outside of the blocks that is gathered for itself


def wanted(options: LoopConfig) -> bool:
    """Whether a run is to be split: by `--shard`, or because accelerate was told to use FSDP.

    Args:
        options: of the loop.

    Returns:
        True if it is.

    Raises:
        InputError: the options contradict it, or this torch has no FSDP2.
    """
    if not options.shard and os.environ.get("ACCELERATE_USE_FSDP", "").lower() not in ("1", "true", "yes"):
        return False
    if options.average_every:
        raise InputError("--shard splits weights and --average-every keeps a copy in each process: give one of them.")
    try:
        from torch.distributed.fsdp import fully_shard
    except ImportError as error:
        raise InputError(f"--shard needs torch 2.6 or newer, and this is {torch.__version__}: update torch.") from error
    return callable(fully_shard)


class ShardedModel(nn.Module):
    """A model whose parameters are split; `run` is the only way to compute with them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, work: Callable[[], Result]) -> Result:
        """Compute while the parameters outside of the blocks are whole.

        Args:
            work: what is computed.

        Returns:
            What it returns.
        """
        return work()

    def run(self, work: Callable[[], Result]) -> Result:
        """Compute in all processes at the same time.

        Args:
            work: what is computed.

        Returns:
            What it returns.
        """
        result: Result = self(work)
        if not torch.is_grad_enabled():  # else the end of the backward pass gives them back
            self.reshard()  # type: ignore[operator]
        return result


def shard(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> ShardedModel:
    """Split a model in place, block by block.

    Args:
        model: whole, and the same in all processes.
        kinds: what a block is.

    Returns:
        What is to be called instead of it; the model's parameters are DTensors from now on.
    """
    from torch.distributed.fsdp import fully_shard

    plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
    how: dict[str, Any] = {
        "reshard_after_forward": plugin.reshard_after_forward,
        "offload_policy": plugin.cpu_offload,
    }
    inside: set[nn.Module] = set()
    for block in outermost(model, kinds):
        inside |= set(block.modules())
        if any(True for _ in block.parameters()):
            fully_shard(block, **how)
    for layer in [layer for layer in model.modules() if isinstance(layer, _LAYERS) and layer not in inside]:
        if layer.weight.numel() >= _LARGE:
            fully_shard(layer, **how)
    root = ShardedModel(model)
    fully_shard(root, **how)
    return root


def here(value: Tensor) -> Tensor:
    """What this process holds of a tensor.

    Args:
        value: split or whole.

    Returns:
        A plain tensor.
    """
    return value.to_local() if _is_split(value) else value  # type: ignore[attr-defined, no-any-return]


def whole(value: Tensor) -> Tensor:
    """A tensor put together; all processes must ask at the same time.

    Args:
        value: split or whole.

    Returns:
        A plain tensor.
    """
    return value.full_tensor() if _is_split(value) else value  # type: ignore[attr-defined, no-any-return]


def gathered(tensors: Iterable[tuple[str, Tensor]], keep: bool) -> dict[str, Tensor]:
    """Tensors put together one by one, on the CPU.

    Args:
        tensors: by name.
        keep: whether this process wants them; the others get none.

    Returns:
        Plain tensors by name.
    """
    found = {}
    for name, value in tensors:
        full = whole(value.detach())
        if keep:
            found[name] = full.cpu()
    return found


def split_like(value: Tensor, example: Tensor) -> Tensor:
    """A whole tensor that all processes have, split as another one is.

    Args:
        value: whole.
        example: split or whole.

    Returns:
        Split, or the value itself.
    """
    if not _is_split(example):
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(example, DTensor)
    return distribute_tensor(value.to(example.device), example.device_mesh, example.placements, src_data_rank=None)


def gathered_state(optimizer: torch.optim.Optimizer, keep: bool) -> dict[str, Any]:
    """An optimizer's state dict with whole tensors.

    Args:
        optimizer: of split parameters.
        keep: whether this process wants it.

    Returns:
        Empty where it is not to be kept.
    """
    content = optimizer.state_dict()
    state = {index: dict(values) for index, values in content["state"].items()}
    for values in state.values():
        for name, value in values.items():
            if isinstance(value, Tensor):
                full = whole(value)
                values[name] = full.cpu() if keep and _is_split(value) else full if keep else None
    return {**content, "state": state} if keep else {}


def load_state(optimizer: torch.optim.Optimizer, content: Mapping[str, Any]) -> None:
    """Take over a state dict with whole tensors.

    Args:
        optimizer: of split parameters.
        content: as `gathered_state` gave it.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state = {}
    for index, values in content["state"].items():
        example = parameters[int(index)]
        state[index] = {
            name: split_like(value, example) if isinstance(value, Tensor) and value.shape == example.shape else value
            for name, value in values.items()
        }
    optimizer.load_state_dict({**content, "state": state})


def whole_buffers(model: nn.Module) -> Iterator[Tensor]:
    """Buffers, which are never split, that hold anything.

    Args:
        model: of which they are.

    Returns:
        The buffers.
    """
    return (buffer for buffer in model.buffers() if buffer.numel())


def _is_split(value: Tensor) -> bool:
    return hasattr(value, "full_tensor")
