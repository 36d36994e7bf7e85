"""The options of `mien evaluate build`; light, so that the command's help waits for nothing."""

from __future__ import annotations

from dataclasses import dataclass

from mien.errors import InputError
from mien.options import Checked, again, declared


@dataclass(frozen=True)
class BuildOptions(Checked):
    """How a benchmark is made; real people's "self" has at most one pair a clip, and frames are the clips' middle."""

    pairs: int = declared(8, "Pairs of each protocol.", least=1)
    frames: int = declared(48, "Frames a clip.", least=2)
    step: int = declared(1, "Take every so-many-th frame.", least=1)
    side: int = declared(256, "Pixels a side: 256 as in the paper, or 512.")
    seed: int = declared(0, "Who drives whom is drawn by it.")
    protocols: tuple[str, ...] = declared(
        ("self", "cross", "disentangled"), "Only this protocol. Repeat it for more.", flags=("--protocol",)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.protocols:
            raise InputError("a benchmark needs a protocol: give --protocol self, cross or disentangled")


@dataclass(frozen=True)
class HeadBuildOptions(BuildOptions):
    """The same for rendered people, whose clips are short."""

    frames: int = again(BuildOptions, "frames", default=16)
    every_group: bool = declared(False, "Take also groups that were trained on.")
