"""Stage `vae` (nano only): the small autoencoder that everything else rests on.

Full size uses Stable Diffusion's own VAE; the nano VAE is the same diffusers class with small widths, trained on
still portraits and rendered avatars.

    python -m mien.training.vae --images stills.npy [more.npy ...] --out runs/vae --minutes 15

`stills.npy` files are uint8 arrays [n, 256, 256, 3]. The same command resumes. With `--decoder-only` the encoder is
kept as it is, so that latents already computed with it stay valid while the pictures become sharper.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VaeTraining:
    """Options of the stage; saved beside the checkpoint."""

    images: tuple[str, ...]
    out: str
    minutes: float = 15.0
    batch: int = 8
    crop: int = 128
    learning_rate: float = 1e-3
    total_steps: int = 3000
    kl_weight: float = 1e-5
    seed: int = 1
    decoder_only: bool = False


NANO_VAE = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (16, 32, 64, 128),
    "layers_per_block": 1,
    "latent_channels": 8,
    "norm_num_groups": 8,
    "mid_block_add_attention": False,
    "scaling_factor": 1.0,
    "force_upcast": False,
}


def nano_vae() -> AutoencoderKL:
    """The nano autoencoder: 3 x 256 x 256 in [-1, 1] to 8 x 32 x 32 latents and back."""
    return AutoencoderKL(**NANO_VAE)


# luma and two colour differences; colour counts double, for otherwise a small autoencoder spends nothing on it
OPPONENT = torch.tensor([[0.30, 0.59, 0.11], [1.0, -1.0, 0.0], [-0.5, -0.5, 1.0]])


def pyramid_l1(got: Tensor, want: Tensor, levels: int = 4) -> Tensor:
    """L1 over a Laplacian pyramid of [b, 3, h, w] in luma and colour differences, the coarsest level included:
    fine bands count as much as coarse ones, so edges stay sharp and colours true."""
    error = torch.einsum("ij,bjhw->bihw", OPPONENT, got - want)
    loss = error.abs().mean()
    for _ in range(levels):
        low = functional.avg_pool2d(error, 2)
        band = error - functional.interpolate(low, scale_factor=2, mode="bilinear", align_corners=False)
        loss = loss + band.abs().mean()
        error = low
    return loss + 2 * error.abs().mean()


def draw_batch(pools: list[np.ndarray], batch: int, crop: int, rng: np.random.Generator) -> Tensor:
    """Random crops [b, 3, crop, crop] in [-1, 1], drawn evenly over the pools, flipped and colour-jittered."""
    crops = []
    for _ in range(batch):
        pool = pools[rng.integers(len(pools))]
        image = pool[rng.integers(len(pool))]
        # faces sit in the middle: half of the crops are drawn near it
        span = image.shape[0] - crop
        spot = rng.uniform(0.2, 0.8, 2) if rng.random() < 0.6 else rng.uniform(0, 1, 2)
        y, x = (spot * span).round().astype(int)
        piece = image[y : y + crop, x : x + crop]
        crops.append(piece[:, ::-1] if rng.random() < 0.5 else piece)
    pixels = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 127.5 - 1
    gain = torch.from_numpy(rng.uniform(0.8, 1.2, (batch, 3, 1, 1)).astype(np.float32))
    shift = torch.from_numpy(rng.uniform(-0.1, 0.1, (batch, 3, 1, 1)).astype(np.float32))
    return (pixels * gain + shift).clamp(-1, 1).contiguous(memory_format=torch.channels_last)


def train(options: VaeTraining) -> AutoencoderKL:
    """Run the stage until `minutes` have passed or `total_steps` are done; checkpoints to `out`, resumes from it."""
    torch.manual_seed(options.seed)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    pools = [np.load(path, mmap_mode="r") for path in options.images]
    vae = nano_vae().to(memory_format=torch.channels_last)
    trained = list(vae.parameters())
    if options.decoder_only:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
        trained = [p for p in vae.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=options.learning_rate, betas=(0.9, 0.99), weight_decay=1e-3)
    step = resume(out / "last.pt", vae, optimizer)
    rng = np.random.default_rng([options.seed, step])
    began = time.monotonic()
    while step < options.total_steps and time.monotonic() - began < options.minutes * 60:
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * min(1, (step + 1) / 50) * max(0.03, 1 - step / options.total_steps)
        images = draw_batch(pools, options.batch, options.crop, rng)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(images).latent_dist
            latents = posterior.mean + 0.02 * torch.randn_like(posterior.mean)
            decoded = vae.decode(latents).sample
        loss = pyramid_l1(decoded.float(), images) + options.kl_weight * posterior.kl().mean()
        loss = loss + 1e-3 * functional.relu(latents.float().abs() - 4).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        step += 1
        if step % 50 == 0:
            psnr = -10 * torch.log10(((decoded.float() - images) / 2).square().mean())
            pace = (time.monotonic() - began) / max(step, 1)
            logger.info("step %d loss %.4f psnr %.2f std %.3f %.3f s/step", step, loss, psnr, latents.std(), pace)
        if step % 250 == 0:
            save(out, vae, optimizer, step, options)
    save(out, vae, optimizer, step, options)
    return vae


def resume(path: Path, vae: AutoencoderKL, optimizer: torch.optim.Optimizer) -> int:
    """Load the last checkpoint where there is one; returns the step to go on from."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    vae.load_state_dict(state["vae"])
    if len(state["optimizer"]["param_groups"][0]["params"]) == len(optimizer.param_groups[0]["params"]):
        optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def save(out: Path, vae: AutoencoderKL, optimizer: torch.optim.Optimizer, step: int, options: VaeTraining) -> None:
    """Write the checkpoint aside, then rename it into place."""
    aside = out / "last.pt.part"
    torch.save({"vae": vae.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, aside)
    os.replace(aside, out / "last.pt")
    (out / "options.json").write_text(json.dumps(asdict(options), indent=1))


def main() -> None:
    """Command line of the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", nargs="+", required=True)
    parser.add_argument("--out", required=True)
    for field, kind in (
        ("minutes", float),
        ("batch", int),
        ("crop", int),
        ("learning-rate", float),
        ("total-steps", int),
    ):
        parser.add_argument(f"--{field}", type=kind, default=getattr(VaeTraining, field.replace("-", "_")))
    parser.add_argument("--decoder-only", action="store_true")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(VaeTraining(**{**vars(args), "images": tuple(args.images)}))


if __name__ == "__main__":
    main()
