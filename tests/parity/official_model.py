"""A tiny model under the official names, and a home-made parity kit of it: other sizes, salt and aspect than the golden
kit. The kit's golden arrays are our own, so it tests the machinery, not the arithmetic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mien.interop import constants
from mien.interop.keys import key_map, temporal_modules, unet_blocks
from mien.jobs.run.progress import Silent
from mien.models.x_portrait import VaeConfig, XPortraitConfig
from parity.kit_files import Kit, fill, read_kit
from parity.runs import compute_arrays

SALT = "home-made/"
HEIGHT, WIDTH, FRAMES, WINDOW = 32, 48, 5, 3

OFFICIAL = XPortraitConfig(
    name="official",
    image_size=WIDTH,
    block_out_channels=(32, 64),
    attention_levels=(True, False),
    heads=(4, 4),
    layers_per_block=1,
    context_dim=12,
    context_tokens=5,
    hint_channels=(16, 32, 96, 256),
    temporal_heads=2,
    temporal_positions=6,
    vae=VaeConfig((32, 32, 32, 64), 1, sample_size=WIDTH),
)
HINT = "appearance_control_model.input_hint_block.0.weight"


def official_shapes(config: XPortraitConfig = OFFICIAL) -> dict[str, list[int]]:
    """Name and shape of every entry of the official state dict of this size."""
    shapes: dict[str, list[int]] = {name: [1000] for name in constants.schedule()}
    for name, target in key_map(config).items():
        pointwise = target.part == "vae" and ".attentions." in target.name and name.endswith("weight")
        convolution = pointwise and ".norm." not in name
        shapes[name] = [*target.shape, 1, 1] if convolution else list(target.shape)
        if name.endswith((".attention_blocks.0.to_q.weight", ".attention_blocks.1.to_q.weight")):
            table = name.replace("to_q.weight", "pos_encoder.pe")
            shapes[table] = [1, config.temporal_positions, target.shape[0]]
    return {**shapes, HINT: [16, 3, 3, 3]}


def official_state(config: XPortraitConfig = OFFICIAL, salt: str = SALT) -> dict[str, Tensor]:
    """The official state dict, filled by the kits' rule."""
    state = {}
    for name, shape in official_shapes(config).items():
        constant = constants.is_constant(name)
        value = constants.expected(name, shape).astype(np.float32) if constant else fill(salt, name, tuple(shape))
        state[name] = torch.from_numpy(np.ascontiguousarray(value))
    return state


def write_kit(folder: Path) -> Kit:
    """Write a kit whose golden arrays are ours; it has every array of the networks and the sampler."""
    names = _array_names()
    inputs = _inputs(np.random.default_rng(0))
    manifest = _manifest()
    blank = Kit(manifest, inputs, {name: np.zeros(0) for name in names})
    with torch.no_grad():
        arrays, problems = compute_arrays(blank, Silent())
    assert not problems
    folder.mkdir(parents=True, exist_ok=True)
    manifest["tolerance"] = dict.fromkeys(names, 1e-5)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    np.savez(folder / "inputs.npz", **inputs)
    np.savez(folder / "outputs.npz", **{name: arrays[name] for name in names})
    return read_kit(folder)


def _array_names() -> list[str]:
    run_a = ["ref_latents", "x_T", "x_steps", "eps_steps", "pred_x0_last", "window_eps_step0", "decoded", "video_u8"]
    run_b = ["more_ref_latents", "eps_step0", "x_last", "decoded", "decoded_stats"]
    names = ["vae.moments_mean", "vae.decode_probe", "ddim.timesteps_S3", "ddim.alphas_S3", "ddim.alphas_prev_S3"]
    names += ["mm_out.output_blocks_motion_module.1", "mm.pe_8", "apply.eps_cond", "apply.eps_uncond"]
    names += ["stats.unet_cond", "stats.appearance", "bank.stats", "bank.entry01_frame2", "bank.entry00_frames"]
    names += ["refattn.context_frame0", "refattn.out_frame0", "hint.local_stats", "control.pose_res02_frame1"]
    names += ["variant.cfg_default", "variant.cfg_balance_mode", "variant.cfg_reference_noised"]
    names += ["variant.eta05_sigmas", "variant.eta05_index1_x_prev", "variant.eta05_index1_pred_x0"]
    return names + [f"runA.{name}" for name in run_a] + [f"runB.{name}" for name in run_b]


def _inputs(random: np.random.Generator) -> dict[str, np.ndarray]:
    latent, window = (FRAMES, 4, HEIGHT // 8, WIDTH // 8), (WINDOW, 4, HEIGHT // 8, WIDTH // 8)
    shapes = {
        "context": (1, OFFICIAL.context_tokens, OFFICIAL.context_dim),
        "noise.eps_vae_init": latent,
        "noise.eps_q_init": latent,
        "noise.eps_vae_ref": latent,
        "noise.eps_vae_more": (1, *latent),
        "noise.ref_q": window,
        "noise.eta_step": latent,
        "latent_probe": (1, *latent[1:]),
        "mm_in.output_blocks_motion_module.1": (2 * WINDOW, 64, 3, 2),
    }
    pictures = {"source_u8": (), "more_sources_u8": (1,), "driving_u8": (FRAMES,), "local_u8": (FRAMES,)}
    inputs = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    for name, count in pictures.items():
        inputs[name] = random.integers(0, 256, (*count, 3, HEIGHT, WIDTH), dtype=np.uint8)
    return inputs


def _manifest() -> dict[str, Any]:
    official = [block.official for block in unet_blocks(OFFICIAL)]
    offsets, starts = [4, 1], [[4, 6], [1, 3]]
    info = {"offsets": offsets, "window_starts": starts}
    return {
        "salt": SALT,
        "config": {
            "num_heads": OFFICIAL.heads[0],
            "motion_module": {"num_attention_heads": OFFICIAL.temporal_heads},
            "diffusion": {"timesteps": 1000, "linear_start": 0.00085, "linear_end": 0.012, "scale_factor": 0.18215},
        },
        "run": {"H": HEIGHT, "W": WIDTH, "N": FRAMES, "B": WINDOW, "overlap": 1, "S": 2, "cfg": 3.0, "t": 123}
        | {"decode": [0, 4], "dec_more": [1], "best": 0},
        "row_names": {
            "stats.unet_cond": ["time_embed", *official, *temporal_modules(OFFICIAL), "out"],
            "stats.appearance": ["time_embed", *official],
        },
        "info": {"A": info, "B": info},
        "tolerance": {},
        "state_dict": [
            {"name": name, "shape": shape, "kind": "buffer" if constants.is_constant(name) else "param"}
            for name, shape in official_shapes().items()
        ],
    }
