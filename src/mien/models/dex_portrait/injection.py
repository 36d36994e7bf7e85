"""All that DeX-Portrait adds to Stable Diffusion's blocks: reference warps, expression attention, null tokens."""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from mien.models.dex_portrait.expression_attention import ExpressionAttention, token_positions
from mien.models.dex_portrait.reference_warp import ReferenceWarp

# Deviation of the weights that read tokens: codes of nano's encoder are about 2.3 long, and tokens are to vary by 1.
_READING = 0.43


class MotionInjection(ModelMixin, ConfigMixin):
    """`places`: name, channels and side of every transformer block of the U-Net, in the order of use."""

    positions: Tensor

    @register_to_config
    def __init__(
        self,
        places: tuple[tuple[str, int, int], ...],
        tokens: int = 32,
        token_dim: int = 16,
        heads: int = 8,
        norm_num_groups: int = 32,
        code: int | None = None,
        learned_places: bool = False,
    ) -> None:
        """Of a model's sizes.

        Args:
            places: see the class.
            tokens: how many.
            token_dim: numbers in each.
            heads: of each expression attention.
            norm_num_groups: of its GroupNorm.
            code: length of codes from which the tokens are read linearly; None: codes are cut into them.
            learned_places: see `ExpressionAttention`.
        """
        super().__init__()
        self.names = [name for name, _, _ in places]
        self.warps = nn.ModuleList(ReferenceWarp(channels) for _, channels, _ in places)
        self.attentions = nn.ModuleList(
            ExpressionAttention(channels, heads, token_dim, norm_num_groups, side if learned_places else None)
            for _, channels, side in places
        )
        self.read: nn.Module = nn.Identity()
        if code is not None:
            self.read = nn.Linear(code, tokens * token_dim)
            nn.init.normal_(self.read.weight, std=_READING)
        self.null_tokens = nn.Parameter(torch.randn(1, tokens, token_dim) * 0.02)
        self.register_buffer("positions", token_positions(tokens, token_dim), persistent=False)

    def tokens(self, codes: Tensor, absent: Tensor | None = None) -> Tensor:
        """Expression codes as tokens.

        Args:
            codes: [b, e].
            absent: [b], samples that get the learned null tokens instead.

        Returns:
            [b, n, d].
        """
        cut = self.read(codes.to(self.null_tokens.dtype)).unflatten(1, self.null_tokens.shape[1:])
        if absent is not None:
            cut = torch.where(absent[:, None, None], self.null_tokens.to(cut.dtype), cut)
        return cut + self.positions.to(cut)

    def no_expression(self, batch_size: int) -> Tensor:
        """The learned null tokens.

        Args:
            batch_size: b.

        Returns:
            [b, n, d].
        """
        return (self.null_tokens + self.positions.to(self.null_tokens)).expand(batch_size, -1, -1)

    def reference_warps(self) -> dict[str, ReferenceWarp]:
        """The warps by the name of their transformer."""
        pairs = zip(self.names, self.warps, strict=True)
        return {name: warp for name, warp in pairs if isinstance(warp, ReferenceWarp)}
