"""Expression attention (DeX-Portrait, supplement; the form is X-NeMo's): a transformer after each spatial one."""

from __future__ import annotations

import math

import torch
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor, nn
from torch.nn import functional

_PLACES = 0.3  # deviation of what is learned of places, at first


class ExpressionAttention(nn.Module):
    """GroupNorm, linear, two cross-attentions to the expression tokens, feed-forward, linear, added to the input."""

    def __init__(
        self, channels: int, heads: int, token_dim: int, norm_num_groups: int, side: int | None = None
    ) -> None:
        """side: of the features, cells, for models that learn what lies where; None: places are not told apart."""
        super().__init__()
        self.norm = nn.GroupNorm(norm_num_groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.block = BasicTransformerBlock(
            channels,
            heads,
            channels // heads,
            cross_attention_dim=token_dim,
            activation_fn="geglu",
            only_cross_attention=True,
        )
        # in a face window eyes and mouth always lie about the same: what is asked for may depend on the place
        self.places = None if side is None else nn.Parameter(torch.randn(1, channels, side, side) * _PLACES)
        self.proj_out = nn.Linear(channels, channels)
        # a fresh module changes nothing, so that it can be added to a trained image model
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """Add what the features find in the expression.

        Args:
            hidden: features [b, c, h, w].
            tokens: of the expression [b, n, d].

        Returns:
            [b, c, h, w].
        """
        x = self.proj_in(self.norm(hidden).flatten(2).transpose(1, 2))  # [b, h w, c]
        if self.places is not None:
            places: Tensor = self.places
            if places.shape[-2:] != hidden.shape[-2:]:
                places = functional.interpolate(places, hidden.shape[-2:], mode="bilinear")
            x = x + places.flatten(2).transpose(1, 2).to(x.dtype)
        x = self.proj_out(self.block(x, encoder_hidden_states=tokens.to(x.dtype)))
        return hidden + x.transpose(1, 2).unflatten(2, hidden.shape[-2:])


def token_positions(tokens: int, dim: int) -> Tensor:
    """Sines and cosines that tell the tokens apart.

    Args:
        tokens: how many.
        dim: numbers in each.

    Returns:
        [tokens, dim].
    """
    place = torch.arange(tokens)[:, None] * torch.exp(torch.arange(0, dim, 2) * (-math.log(10000.0) / dim))
    return torch.stack([place.sin(), place.cos()], dim=2).flatten(1)[:, :dim]
