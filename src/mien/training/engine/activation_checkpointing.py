"""Gradient checkpointing for networks that are walked layer by layer.

diffusers' own switch sits in the forward of whole blocks, which X-Portrait's walk does not call; here each layer's
forward is wrapped, and what it computes inside is computed again when the gradient comes back (Chen et al. 2016).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute_blocks(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> int:
    """Have blocks computed again in the backward pass, to save memory. Their state dict stays as it is.

    Args:
        model: whose outermost modules of these kinds are wrapped.
        kinds: of blocks.

    Returns:
        How many there are.
    """
    blocks = list(outermost(model, kinds))
    for block in blocks:
        _wrap(block)
    return len(blocks)


def outermost(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> Iterator[nn.Module]:
    """The modules of some kinds that do not lie in another one of them.

    Args:
        model: to look through.
        kinds: of modules.

    Yields:
        The modules.
    """
    waiting = [model]
    while waiting:
        module = waiting.pop()
        if isinstance(module, kinds):
            yield module
        else:
            waiting.extend(module.children())


def _wrap(module: nn.Module) -> None:
    inner = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return inner(*args, **kwargs)
        return checkpoint(inner, *args, use_reentrant=False, **kwargs)

    module.forward = forward  # type: ignore[method-assign]
