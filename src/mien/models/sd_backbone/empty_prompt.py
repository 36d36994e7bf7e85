"""The constant context of every cross-attention: X-Portrait only ever encodes the empty prompt."""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn


class EmptyPrompt(ModelMixin, ConfigMixin):
    """One tensor [1, tokens, dim] in place of a 123 M text encoder; learned at nano size."""

    @register_to_config
    def __init__(self, tokens: int = 77, dim: int = 768) -> None:
        super().__init__()
        self.context = nn.Parameter(torch.zeros(1, tokens, dim))

    def forward(self) -> Tensor:
        """The context [1, tokens, dim]."""
        return self.context
