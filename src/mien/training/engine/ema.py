"""The moving average of what is trained: steadier than the weights themselves, and what is shown and exported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mien.training.engine.sharding import split_like

_WARM = 20.0  # a young average forgets its start sooner: it weighs at most step / (step + 20)


class Average:
    """Exponential moving average of some of a model's parameters; what is not trained needs no second copy."""

    def __init__(self, model: nn.Module, names: Sequence[str], decay: float) -> None:
        """names: full names of parameters. decay: 0: no averaging, the weights themselves are shown."""
        parameters = dict(model.named_parameters())
        self.decay = decay
        self.weights: dict[str, Tensor] = {}
        if decay > 0:
            self.weights = {name: parameters[name].detach().clone() for name in names}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Follow the weights after a step.

        Args:
            model: with the new weights.
            step: the number of the step, from 0.
        """
        decay = min(self.decay, (step + 1) / (step + _WARM))
        parameters = dict(model.named_parameters())
        for name, slow in self.weights.items():
            slow.lerp_(parameters[name], 1 - decay)

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Go on from saved averages; those of parameters that were not trained then stay as they are.

        Args:
            weights: by name.
        """
        for name, slow in self.weights.items():
            if name in weights:
                slow.copy_(split_like(weights[name], slow))

    @contextmanager
    def shown(self, model: nn.Module) -> Iterator[None]:
        """The model with the averaged weights in place, without gradients and in eval mode; then as it was.

        Args:
            model: the one that is followed.

        Yields:
            Nothing.
        """
        parameters, modes = dict(model.named_parameters()), {m: m.training for m in model.modules()}
        kept = {name: parameters[name].detach().clone() for name in self.weights}
        with torch.no_grad():
            for name, slow in self.weights.items():
                parameters[name].copy_(slow)
            model.eval()
            try:
                yield
            finally:
                for name, value in kept.items():
                    parameters[name].copy_(value)
                for module, training in modes.items():
                    module.training = training
