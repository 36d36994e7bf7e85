"""One way through the blocks of Stable Diffusion's U-Net, shared by the denoiser, the reference R and the controls.

diffusers' own forward runs a block at a time; X-Portrait needs a hand between the layers of a block (temporal modules),
before the skips (control residuals) and inside self-attention (reference tokens).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, Union

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor

from mien.models.sd_backbone.reference_attention import ReferenceFeatures
from mien.models.sd_backbone.temporal import TemporalModules

Backbone: TypeAlias = Union[UNet2DConditionModel, ControlNetModel]  # noqa: UP007 - evaluated at run time


@dataclass(frozen=True)
class Residuals:
    """What a motion control adds: one tensor for every skip connection, in order, and one for the middle block."""

    skips: list[Tensor]
    middle: Tensor

    def taking_up(self, other: Residuals) -> Residuals:
        """Both controls together (the official model adds them). Without gradients these tensors become the sums."""
        if torch.is_grad_enabled():
            return Residuals([a + b for a, b in zip(self.skips, other.skips, strict=True)], self.middle + other.middle)
        for own, more in zip([*self.skips, self.middle], [*other.skips, other.middle], strict=True):
            own += more
        return self


@dataclass(frozen=True)
class UNetContext:
    """What every layer on the way needs: time embedding [b, e], context, reference tokens, temporal modules."""

    time: Tensor
    context: Tensor
    reference: ReferenceFeatures | None = None
    temporal: TemporalModules | None = None
    num_frames: int = 1

    def attend(self, transformer: torch.nn.Module, hidden: Tensor) -> Tensor:
        """One spatial transformer block on [b, c, h, w]."""
        result: Tensor = transformer(
            hidden,
            encoder_hidden_states=self.context,
            cross_attention_kwargs={"reference": self.reference},
            return_dict=False,
        )[0]
        return result

    def along_time(self, hidden: Tensor, path: str, index: int) -> Tensor:
        """The temporal module of this place, where there is one."""
        return hidden if self.temporal is None else self.temporal(hidden, self.num_frames, path, index)


@dataclass
class FirstLayers:
    """The first convolution and residual block of a U-Net, which both branches of the guidance share.

    Nothing but the noisy latents and the timestep has come in there. Empty until the first branch has passed.
    """

    convolved: Tensor | None = None
    features: Tensor | None = None

    def convolve(self, convolution: torch.nn.Module, sample: Tensor) -> Tensor:
        """The first convolution of the sample."""
        convolved: Tensor = convolution(sample) if self.convolved is None else self.convolved
        self.convolved = convolved
        return convolved

    def pass_block(self, resnet: torch.nn.Module, hidden: Tensor, time: Tensor) -> Tensor:
        """The first residual block behind it."""
        features: Tensor = resnet(hidden, time) if self.features is None else self.features
        self.features = features
        return features


def source_latents_like(noisy: Tensor, source: Tensor | None) -> Tensor:
    """Source latents [r, c, h, w] for every noisy one [b, c, h, w]; zeros where there are none."""
    return torch.zeros_like(noisy) if source is None else source.repeat_interleave(len(noisy) // len(source), 0)


def embed_time(network: Backbone, timestep: Tensor, like: Tensor) -> Tensor:
    """Timestep (scalar or [b]) to the embedding [b, e] in the sample's dtype."""
    steps = timestep.to(like.device).reshape(-1).expand(len(like))
    embedding: Tensor = network.time_embedding(network.time_proj(steps).to(like.dtype))
    return embedding


def down(
    network: Backbone, hidden: Tensor, given: UNetContext, shared: FirstLayers | None = None
) -> tuple[Tensor, list[Tensor]]:
    """The contracting path after the first convolution: the last features and all skip connections, `hidden` first.

    shared: filled, or read where it is filled already.
    """
    skips, place = [hidden], 0
    for block in network.down_blocks:
        attentions = getattr(block, "attentions", [None] * len(block.resnets))
        for resnet, attention in zip(block.resnets, attentions, strict=True):
            if shared is not None and place == 0:
                hidden = shared.pass_block(resnet, hidden, given.time)
            else:
                hidden = resnet(hidden, given.time)
            hidden = hidden if attention is None else given.attend(attention, hidden)
            hidden = given.along_time(hidden, "down", place)
            skips.append(hidden)
            place += 1
        for downsample in block.downsamplers or ():
            hidden = downsample(hidden)
            skips.append(hidden)
    return hidden, skips


def feed_forward_by_frame(network: Backbone) -> None:
    """Have the feed-forward of the finest level, which holds the most memory, take the frames one after the other."""
    finest = [network.down_blocks[0], *list(getattr(network, "up_blocks", ()))[-1:]]
    for block in finest:
        for transformer in getattr(block, "attentions", None) or ():
            for layer in transformer.transformer_blocks:
                layer.set_chunk_feed_forward(1, 0)


def middle(network: Backbone, hidden: Tensor, given: UNetContext) -> Tensor:
    """The middle block; it has no temporal module."""
    block = network.mid_block
    hidden = block.resnets[0](hidden, given.time)
    for attention, resnet in zip(block.attentions, block.resnets[1:], strict=True):
        hidden = resnet(given.attend(attention, hidden), given.time)
    return hidden


def up(network: UNet2DConditionModel, hidden: Tensor, skips: list[Tensor], given: UNetContext) -> Tensor:
    """The expanding path; the temporal module comes after the upsampler where the block ends with one."""
    waiting, place = list(skips), 0
    for block in network.up_blocks:
        attentions = getattr(block, "attentions", [None] * len(block.resnets))
        for layer, (resnet, attention) in enumerate(zip(block.resnets, attentions, strict=True)):
            hidden = resnet(torch.cat([hidden, waiting.pop()], dim=1), given.time)
            hidden = hidden if attention is None else given.attend(attention, hidden)
            if layer == len(block.resnets) - 1:
                for upsample in block.upsamplers or ():
                    hidden = upsample(hidden)
            hidden = given.along_time(hidden, "up", place)
            place += 1
    return hidden
