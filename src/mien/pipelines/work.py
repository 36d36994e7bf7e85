"""What a piece of work computes and holds, counted on the meta device: nothing is computed, no weight is loaded."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Work:
    """What a computation costs.

    Attributes:
        flops: a multiply-add is 2.
        peak: bytes of the most tensors that were alive at once, without what was there before and without what kernels
            need besides.
    """

    flops: int
    peak: int


@torch.no_grad()
def measure(work: Callable[[], Any]) -> Work:
    """Count what a computation costs; nothing is computed.

    Args:
        work: runs networks and inputs that stand on the meta device.

    Returns:
        FLOPs, attention included, and the most bytes alive at once.
    """
    attention, memory = _Attention(), _Memory()
    # fused attention is told by its two matrix products, for its kernels are not all counted and hold no scores
    with FlopCounterMode(display=False) as counter, memory, attention:
        result = work()
    del result
    return Work(int(counter.get_total_flops()) + attention.flops, memory.peak)


class _Attention(TorchFunctionMode):
    """Fused attention as a tensor of the right shape."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.nn.functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        query, key, value = args[:3]
        self.flops += 2 * query.shape[:-1].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])
        return query.new_empty(*query.shape[:-1], value.shape[-1])


class _Memory(TorchDispatchMode):
    """Keeps count of the storages that operations make."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._alive: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        # a view's storage, or one that was written to, is one of the arguments'
        given: set[int] | None = None
        for made in tree_leaves(result):
            if not isinstance(made, Tensor):
                continue
            storage = made.untyped_storage()
            key = storage._cdata
            if key in self._alive:
                continue
            if given is None:
                tensors = (one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor))
                given = {one.untyped_storage()._cdata for one in tensors}
            if key not in given:
                self._alive.add(key)
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._gone, key, storage.nbytes())
        return result

    def _gone(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.now -= size
