"""One process or many: where this one stands, and what they do together. `accelerate launch` starts them.

Gradients are averaged here rather than by torch's DistributedDataParallel: a stage's optimizer_steps train different
parts, call networks by other methods than `forward` and look through frozen ones, which a wrapper around `forward` does
not allow.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch import Tensor

_BUCKET = 1 << 25  # elements that travel together


class Processes:
    """The processes of a run and this one's device.

    Attributes:
        device: of this process.
        rank: its number.
        count: how many there are.
        main: whether it is the one that writes.
    """

    def __init__(self) -> None:
        forced = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
        self._state = PartialState(cpu=forced or not torch.cuda.is_available())
        self.device: torch.device = self._state.device
        self.rank: int = self._state.process_index
        self.count: int = self._state.num_processes
        self.main: bool = self._state.is_main_process

    def wait(self) -> None:
        """Until all have come here."""
        self._state.wait_for_everyone()

    @contextmanager
    def in_turn(self, wanted: bool = True) -> Iterator[None]:
        """One process of a machine after the other does what is inside.

        Args:
            wanted: False: all at once.

        Yields:
            Nothing.
        """
        turns = int(os.environ.get("LOCAL_WORLD_SIZE", self.count)) if wanted else 0
        mine = self._state.local_process_index if wanted else 0
        for _ in range(mine):
            self.wait()
        yield
        for _ in range(mine, turns):
            self.wait()

    def any(self, here: bool) -> bool:
        """Whether something holds in any process.

        Args:
            here: whether it holds in this one.

        Returns:
            The same answer in all.
        """
        if self.count == 1:
            return here
        flag = torch.tensor(float(here), device=self.device)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return bool(flag.item() > 0)

    def from_main(self, text: str | None) -> str | None:
        """What the main process says.

        Args:
            text: what it is; in the others it does not matter.

        Returns:
            The same in all.
        """
        if self.count == 1:
            return text
        return str(found) if (found := broadcast_object_list([text])[0]) is not None else None

    @torch.no_grad()
    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Add up over the processes, many tensors a message.

        Args:
            tensors: changed in place.
        """
        if self.count == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            dist.all_reduce(flat)
            for tensor, piece in zip(bucket, flat.split([t.numel() for t in bucket]), strict=True):
                tensor.copy_(piece.view(tensor.shape))

    @torch.no_grad()
    def average(self, tensors: Iterable[Tensor]) -> None:
        """The mean over the processes.

        Args:
            tensors: changed in place.
        """
        if self.count == 1:
            return
        kept = list(tensors)
        for tensor in kept:
            tensor.div_(self.count)
        self.sum(kept)

    @torch.no_grad()
    def copy_from_main(self, tensors: Iterable[Tensor]) -> None:
        """Make tensors what they are in the main process.

        Args:
            tensors: changed in place.
        """
        if self.count > 1:
            for tensor in tensors:
                plain = tensor.contiguous()  # channels-last ones cannot be sent
                dist.broadcast(plain, 0)
                tensor.copy_(plain)


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    held = 0
    for tensor in tensors:
        if bucket and (held + tensor.numel() > _BUCKET or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, held = [], 0
        bucket.append(tensor)
        held += tensor.numel()
    if bucket:
        yield bucket
