"""The stage `vae`: pools of pictures, its loss, and what stays with --decoder-only."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.errors import InputError
from mien.media import write_image
from mien.models.x_portrait import VaeConfig
from mien.training.data.image_folders import PicturePools
from mien.training.engine import checkpoints
from mien.training.engine.config import TrainOptions
from mien.training.engine.trainer import train
from mien.training.vae import VaeStage, pyramid_l1

SMALL = VaeConfig((4, 8), 1, 4, 4, False, 1.0, 64)


@pytest.fixture
def stills(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    pictures = np.repeat(np.repeat(rng.integers(0, 255, (3, 8, 8, 3), np.uint8), 32, 1), 32, 2)
    (tmp_path / "stills").mkdir()
    np.save(tmp_path / "stills" / "a.npy", pictures)
    write_image(tmp_path / "stills" / "b.png", pictures[0, :200])
    return tmp_path / "stills"


def options(stills: Path, out: Path, **more: object) -> TrainOptions:
    base = TrainOptions("vae", (str(stills),), str(out), rows=2, window=32, precision="fp32", show_every=0)
    return dataclasses.replace(base, **more)  # type: ignore[arg-type]


def test_pools_share_the_draws(stills: Path, tmp_path: Path) -> None:
    pools = PicturePools([(stills, 1.0)])
    assert len(pools.pools) == 2
    rng = np.random.default_rng(0)
    assert {pools.picture(rng).shape for _ in range(8)} == {(256, 256, 3)}
    np.save(tmp_path / "wrong.npy", np.zeros((2, 64, 64, 3), np.uint8))
    with pytest.raises(InputError, match=r"wrong.npy is uint8 \[2, 64, 64, 3\]"):
        PicturePools([(tmp_path / "wrong.npy", 1.0)])


def test_colour_and_edges_count() -> None:
    image = torch.zeros(1, 3, 32, 32)
    grey, tinted = image + 0.1, image.clone()
    tinted[:, 0] += 0.1
    assert pyramid_l1(image, image) == 0
    assert pyramid_l1(tinted, image) > pyramid_l1(grey, image)


def test_the_loss_falls_on_a_fixed_batch_and_pictures_come_out(stills: Path) -> None:
    stage = VaeStage(options(stills, Path("out")), SMALL)
    model, batch = stage.build(), stage.batch(np.random.default_rng(0), 2)
    optimizer, losses = torch.optim.AdamW(model.parameters(), 5e-3), []
    for _ in range(25):
        loss = torch.stack(list(stage.loss(model, batch, torch.Generator().manual_seed(0)).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]
    with torch.no_grad():
        assert stage.pictures(model.eval()).shape == (512, 6 * 256, 3)


def test_decoder_only_keeps_the_encoder(stills: Path, tmp_path: Path) -> None:
    chosen = options(stills, tmp_path / "run", steps=2, decoder_only=True)
    stage = VaeStage(chosen, SMALL)
    start = {name: value.clone() for name, value in stage.build().state_dict().items()}
    train(stage, chosen)
    end = checkpoints.find(tmp_path / "run").weights()
    for name, value in start.items():
        kept = torch.equal(value, end[name])
        assert kept if name.startswith(("encoder.", "quant_conv.")) else True, name
    assert not torch.equal(start["decoder.conv_out.weight"], end["decoder.conv_out.weight"])
