"""Stage `vae` (nano only): the small autoencoder that everything else rests on.

Full size uses Stable Diffusion's own VAE; the nano VAE is the same diffusers class with small widths, trained on still
portraits and rendered avatars. With `--decoder-only` the encoder is kept as it is, so that latents already computed
with it stay valid while the pictures become sharper.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional

from mien.models.x_portrait import NANO
from mien.models.x_portrait.config import VaeConfig
from mien.training.data.image_folders import PicturePools
from mien.training.data.pictures import to_tensor
from mien.training.engine import checkpoints
from mien.training.engine.config import StageConfig, option
from mien.training.engine.stage import Batch, Losses, OptimizerStep, Stage
from mien.training.latent_diffusion import read_vae
from mien.typing import Picture

# luma and two colour differences; colour counts double, for otherwise a small autoencoder spends nothing on it
OPPONENT = torch.tensor([[0.30, 0.59, 0.11], [1.0, -1.0, 0.0], [-0.5, -0.5, 1.0]])
_CROP = 128
_KL, _BOUND = 1e-5, 1e-3  # weights of the KL term and of latents beyond 4


@dataclass(frozen=True)
class VaeStageConfig(StageConfig):
    """Of the nano autoencoder."""

    window: int = option(_CROP, "Side of the crops.", unit="pixels", least=16, most=256)
    decoder_only: bool = option(False, "Leave the encoder as it is.")


class VaeStage(Stage):
    """The autoencoder on random crops."""

    name = "vae"
    steps, batch_size = 3000, 8

    def __init__(
        self, options: VaeStageConfig, config: VaeConfig | None = None, pools: PicturePools | None = None
    ) -> None:
        nano = NANO.vae
        assert isinstance(nano, VaeConfig)
        self.options, self.config, self._pools = options, config or nano, pools
        self.crop = options.window
        kept: tuple[str, ...] = () if options.decoder_only else ("encoder", "quant_conv")
        parts = (*kept, "decoder", "post_quant_conv")
        self.optimizer_steps = (OptimizerStep("vae", parts, 1e-3, self.loss, weight_decay=1e-3),)

    def check(self) -> None:
        """See `Stage.check`."""
        self.pools()

    def build(self) -> nn.Module:
        """The nano autoencoder: 3 x 256 x 256 in [-1, 1] to 8 x 32 x 32 latents and back."""
        torch.manual_seed(self.options.loop.seed)
        vae: nn.Module = AutoencoderKL(**self.config.to_diffusers())
        return vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def sketch(self) -> tuple[nn.Module, Batch]:
        """See `Stage.sketch`."""
        with torch.device("meta"):
            images = torch.empty(self.options.loop.batch_size or self.batch_size, 3, self.crop, self.crop)
            return AutoencoderKL(**self.config.to_diffusers()), {"images": images}

    def start(self, model: nn.Module, place: Path) -> None:
        """See `Stage.start`: A run of this stage, or a folder with an autoencoder."""
        checkpoints.fill(model, read_vae(place)[0])

    def pools(self) -> PicturePools:
        """The pictures, opened on first use."""
        if self._pools is None:
            self._pools = PicturePools(self.options.sources())
        return self._pools

    def batch(self, rng: np.random.Generator, batch_size: int) -> Batch:
        """Random crops, flipped and colour-jittered.

        Args:
            rng: of everything random.
            batch_size: how many.

        Returns:
            images [batch_size, 3, crop, crop] in [-1, 1].
        """
        crops = []
        for _ in range(batch_size):
            image = self.pools().picture(rng)
            # faces sit in the middle: most of the crops are drawn near it
            span = image.shape[0] - self.crop
            spot = rng.uniform(0.2, 0.8, 2) if rng.random() < 0.6 else rng.uniform(0, 1, 2)
            y, x = (spot * span).round().astype(int)
            piece = image[y : y + self.crop, x : x + self.crop]
            crops.append(piece[:, ::-1] if rng.random() < 0.5 else piece)
        pixels = to_tensor(np.stack(crops))
        gain = torch.from_numpy(rng.uniform(0.8, 1.2, (batch_size, 3, 1, 1)).astype(np.float32))
        shift = torch.from_numpy(rng.uniform(-0.1, 0.1, (batch_size, 3, 1, 1)).astype(np.float32))
        return {"images": (pixels * gain + shift).clamp(-1, 1).contiguous(memory_format=torch.channels_last)}

    def loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Losses:
        """Laplacian-pyramid L1, a little KL, and a bound on the latents.

        Args:
            model: the autoencoder.
            batch: images.
            generator: of the noise on latents.

        Returns:
            By name, already weighted.
        """
        assert isinstance(model, AutoencoderKL)
        images = batch["images"]
        posterior = model.encode(images).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator).to(images.device)
        latents = posterior.mean + 0.02 * noise
        decoded = model.decode(latents).sample
        return {
            "pyramid": pyramid_l1(decoded.float(), images),
            "kl": _KL * posterior.kl().mean(),
            "bound": _BOUND * functional.relu(latents.float().abs() - 4).mean(),
        }

    def pictures(self, model: nn.Module) -> Picture:
        """See `Stage.pictures`: six pictures above their reconstructions."""
        assert isinstance(model, AutoencoderKL)
        rng = np.random.default_rng(101)
        images = to_tensor(np.stack([self.pools().picture(rng) for _ in range(6)]))
        device = next(model.parameters()).device
        made = [model.decode(model.encode(x[None].to(device)).latent_dist.mean).sample.float().cpu() for x in images]
        both = torch.cat([images, torch.cat(made).clamp(-1, 1)], dim=2)  # [6, 3, 2 h, w]
        pixels = ((both + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        return np.concatenate(list(pixels), axis=1)

    def export(self, model: nn.Module, folder: Path) -> None:
        """See `Stage.export`: A diffusers folder of the autoencoder."""
        assert isinstance(model, AutoencoderKL)
        model.to(torch.float16).save_pretrained(folder)


def pyramid_l1(got: Tensor, want: Tensor, levels: int = 4) -> Tensor:
    """L1 over a Laplacian pyramid in luma and colour differences, the coarsest level included.

    Fine bands count as much as coarse ones, so edges stay sharp and colours true.

    Args:
        got: [b, 3, h, w] in [-1, 1].
        want: the same.
        levels: of the pyramid, above the coarsest.

    Returns:
        A number.
    """
    error = torch.einsum("ij,bjhw->bihw", OPPONENT.to(got.device), (got - want).float())
    loss = error.abs().mean()
    for _ in range(levels):
        low = functional.avg_pool2d(error, 2)
        band = error - functional.interpolate(low, scale_factor=2, mode="bilinear", align_corners=False)
        loss = loss + band.abs().mean()
        error = low
    return loss + 2 * error.abs().mean()
