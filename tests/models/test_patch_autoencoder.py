"""The autoencoder that only rearranges pixels."""

from __future__ import annotations

from pathlib import Path

import torch

from mien.models.sd_backbone.patch_autoencoder import PatchAutoencoder


def test_pictures_come_back_exactly_and_latents_are_patches() -> None:
    vae, pictures = PatchAutoencoder(patch=4), torch.rand(2, 3, 16, 24) * 2 - 1
    latents = vae.encode(pictures).latent_dist.mode()
    assert latents.shape == (2, 48, 4, 6)
    assert torch.equal(latents, vae.encode(pictures).latent_dist.sample(torch.Generator()))
    assert torch.equal(vae.decode(latents).sample, pictures)
    assert set(latents[0, :16, 1, 2].tolist()) == set(pictures[0, 0, 4:8, 8:12].flatten().tolist())


def test_it_is_saved_loaded_and_moved_as_other_models_are(tmp_path: Path) -> None:
    PatchAutoencoder(patch=2, scaling_factor=0.5).save_pretrained(tmp_path)
    loaded = PatchAutoencoder.from_pretrained(tmp_path)
    assert (loaded.config.patch, loaded.config.scaling_factor) == (2, 0.5)
    assert loaded.to(torch.bfloat16).dtype == torch.bfloat16
    assert loaded.device == torch.device("cpu")
