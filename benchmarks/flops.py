"""Count what one frame costs at one denoising step, full size: ours against the published script.

    python benchmarks/flops.py

Nothing is computed: the networks stand on the meta device. A multiply-add counts 2; attention is counted as its two
matrix products. The published figures are those of the published script (512 px, windows of 16
frames, guidance with an unconditional call); tests/interop/test_cost.py puts them together from our pieces again.

What a clip shares is divided by its frames or steps: R and the keys and values of its tokens once per timestep, the
hint encoders once per frame. The first comparison leaves out, as the published figures do, that frames in overlaps are
denoised more than once; the second, over whole clips, counts it on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mien.diffusion import WindowPlan
from mien.models.x_portrait import SD15, XPortraitNetworks, build
from mien.pipelines import work as works

WINDOW, OVERLAP, STEPS, GOAL = 16, 4, 31, 0.80
# TFLOP per frame and step of the published script; its hint encoders (0.015 each) are inside C and C_l
PUBLISHED = {"R": 0.803, "C": 0.283, "C_l": 0.283, "U-Net, conditional": 1.378, "U-Net, unconditional": 1.230}
PUBLISHED_HINT = 0.015


@dataclass(frozen=True)
class Parts:
    """TFLOP of every piece: `reference` and `keys_values` per timestep, `control_features` per frame, the others
    per frame and step."""

    reference: float
    keys_values: float
    control_features: float
    control: float
    local_control: float
    conditional: float
    unconditional: float

    def frame_step(self, frames: int, steps: int = STEPS, guided: bool = True, repeats: float = 1.0) -> float:
        """TFLOP of one frame at one step in a clip of `frames` frames, each denoised `repeats` times a step; not
        guided: guidance is folded in by distillation."""
        shared = (self.reference + self.keys_values) / frames + self.control_features / steps
        own = self.control + self.local_control + self.conditional
        return shared + repeats * (own + (self.unconditional if guided else 0.0))


def measure(networks: XPortraitNetworks, size: int, window: int = WINDOW) -> Parts:
    """Count every piece on networks that stand on the meta device."""
    side = size // 2 ** (len(networks.vae.config.block_out_channels) - 1)
    channels = networks.unet.config.out_channels
    local = networks.local_control
    if local is None:
        raise ValueError("the published model has a local control")
    with torch.device("meta"):
        noisy, source = torch.empty(window, channels, side, side), torch.empty(1, channels, side, side)
        pixels, timestep = torch.empty(1, 3, size, size), torch.empty((), dtype=torch.long)
    with torch.no_grad():
        reference = networks.read_appearance([source], timestep)
        control_features = networks.read_motion(pixels.expand(window, -1, -1, -1), pixels.expand(window, -1, -1, -1))
        context = networks.empty_prompt()
    assert control_features.local is not None

    def tera(work: object, share: int = 1) -> float:
        return works.measure(work).flops / share / 1e12  # type: ignore[arg-type]

    # the first window of a timestep also projects the reference tokens; later ones find keys and values kept
    first = tera(lambda: networks.predict(noisy, timestep, window, reference))
    later = tera(lambda: networks.predict(noisy, timestep, window, reference))
    return Parts(
        reference=tera(lambda: networks.read_appearance([source], timestep)),
        keys_values=first - later,
        control_features=tera(lambda: networks.read_motion(pixels, pixels)),
        control=tera(lambda: networks.motion_control(noisy, timestep, context, control_features.motion), window),
        local_control=tera(lambda: local(noisy, timestep, context, control_features.local), window),
        conditional=later / window,
        unconditional=tera(lambda: networks.predict(noisy, timestep, window), window),
    )


def table(parts: Parts, clips: Sequence[int] = (16, 24, 100, 1500)) -> list[str]:
    """The comparison as lines."""
    official = sum(PUBLISHED.values())
    rows = [
        ("U-Net, conditional", parts.conditional, PUBLISHED["U-Net, conditional"], "frame and step"),
        ("U-Net, unconditional", parts.unconditional, PUBLISHED["U-Net, unconditional"], "frame and step"),
        ("C", parts.control, PUBLISHED["C"], "frame and step"),
        ("C_l", parts.local_control, PUBLISHED["C_l"], "frame and step"),
        (
            "hint encoders, both",
            parts.control_features,
            2 * PUBLISHED_HINT,
            "frame (published: in C and C_l, every step)",
        ),
        ("R", parts.reference, PUBLISHED["R"], "timestep (published: frame and step)"),
        ("K, V of R's tokens", parts.keys_values, None, "timestep (published: in the U-Net)"),
    ]
    lines = [f"{'TFLOP':24}{'ours':>8}{'published':>11}   counted once per"]
    for name, ours, theirs, per in rows:
        lines.append(f"{name:24}{ours:8.3f}{'' if theirs is None else f'{theirs:.3f}':>11}   {per}")
    lines += ["", f"{'one frame, one step':40}{'TFLOP':>8}{'of published':>14}"]
    lines.append(f"{'published':40}{official:8.3f}{1:14.3f}")
    for frames in clips:
        cost = parts.frame_step(frames)
        lines.append(f"{f'ours, clip of {frames} frames, {STEPS} steps':40}{cost:8.3f}{cost / official:14.3f}")
    lines += ["", f"{'whole clips, repeats in overlaps counted':40}{'ours':>8}{'published':>11}{'of published':>14}"]
    for frames in clips:
        ours, theirs = whole_clip(parts, frames, STEPS)
        lines.append(
            f"{f'{frames} frames, {STEPS} steps, PFLOP':40}{ours / 1e3:8.3f}{theirs / 1e3:11.3f}{ours / theirs:14.3f}"
        )
    for guided in (True, False):
        ours, theirs = whole_clip(parts, 100, 4, guided)
        name = f"100 frames, ours 4 steps{'' if guided else ', guidance folded in'}"
        lines.append(f"{name:40}{ours / 1e3:8.3f}{theirs / 1e3:11.3f}{ours / theirs:14.3f}")
    return lines


def whole_clip(parts: Parts, frames: int, steps: int, guided: bool = True) -> tuple[float, float]:
    """TFLOP of denoising a whole clip: ours at `steps` steps, and the published script at its own."""
    plan = WindowPlan(WINDOW, OVERLAP)
    repeats = plan.cost(steps, frames) / (steps * frames)
    ours = steps * frames * parts.frame_step(frames, steps, guided, repeats)
    # its windows are whole, for its clip is a ring
    denoised = WINDOW * len(range(0, frames - OVERLAP, WINDOW - OVERLAP))
    return ours, STEPS * denoised * sum(PUBLISHED.values())


def main() -> None:
    """Print the table and whether the goal is met for clips of a window and more."""
    with torch.device("meta"):
        networks = build(SD15)
    parts = measure(networks, SD15.image_size)
    print("\n".join(table(parts)))
    share = parts.frame_step(WINDOW) / sum(PUBLISHED.values())
    verdict = "met" if share <= GOAL else "MISSED"
    print(f"\ngoal: at most {GOAL:.2f} of published; {share:.3f} with a clip of one window: {verdict}")


if __name__ == "__main__":
    main()
