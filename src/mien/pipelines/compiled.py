"""The networks of face windows as programs of OpenVINO, where that is installed (`mien[fast]`).

For processors, float32 and models of one step, such as nano. A program is of one number of frames at a time: windows of
a clip, or a single frame of a camera. Turning the networks into one takes some seconds, so it is kept among the cached
files, by the weights and all else that decides it. Frames are torch's to a level of 255. Whatever does not work
leaves torch to do it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mien.media.cache import cache_folder
from mien.models.x_portrait import ControlFeatures, ReferenceFeatures, XPortraitNetworks
from mien.pipelines.window_denoiser import stacked
from mien.version import __version__

FEWEST_FRAMES = 48  # of a clip, below which bringing OpenVINO in takes longer than it saves
_PARTS = ("empty_prompt", "motion_control", "local_control", "unet", "temporal", "window_head")

_log = logging.getLogger("mien.compiled")


class CompiledWindows:
    """What `XPortraitNetworks` does with driving frames, by OpenVINO.

    Attributes:
        batch: frames of a call of `change`.
    """

    def __init__(
        self,
        networks: XPortraitNetworks,
        sides: tuple[int, int],
        timestep: Tensor,
        batch: int,
        tokens: dict[str, Tensor],
    ) -> None:
        """Turn the networks into programs, or load those that were kept.

        Args:
            networks: of face windows, float32, on the CPU.
            sides: of a window and of the picture of eyes and mouth, pixels.
            timestep: of the one step.
            batch: frames of a call of `change`.
            tokens: of the portrait, by layer, as R leaves them; those of others have the same shapes.
        """
        frame, parts = torch.zeros(1, 3, sides[0], sides[0]), torch.zeros(1, 3, sides[1], sides[1])
        read = networks.read_motion(frame, parts)
        assert read.local is not None  # as `can_compile` has seen
        latents = networks.vae.encode(frame).latent_dist.mode()
        many = [
            one.expand(batch, -1, -1, -1).contiguous() for one in (latents, read.motion, read.local, frame, latents)
        ]
        self.batch, self._layers = batch, list(tokens)
        key, sizes = _digest(networks), "x".join(str(one.shape[1]) for one in tokens.values())
        self._hints = _program(_Hints(networks), [frame, parts], f"{key}-hints")
        change = _Change(networks, timestep, self._layers)
        self._change = _program(change, [*many, *tokens.values()], f"{key}-{int(timestep)}-{batch}-{sizes}")

    def read_motion(self, frame: Tensor, parts: Tensor | None) -> ControlFeatures:
        """See `XPortraitNetworks.read_motion`; one frame at a time.

        Args:
            frame: [1, 3, s, s] in [-1, 1].
            parts: its eyes and mouth [1, 3, t, t].

        Returns:
            The frame's features.
        """
        motion, local = self._hints(frame, parts)
        return ControlFeatures(motion, local, frame)

    def change(self, noisy: Tensor, reference: ReferenceFeatures, given: ControlFeatures, source: Tensor) -> Tensor:
        """See `XPortraitNetworks.change`.

        Args:
            noisy: latents [batch, c, h, w].
            reference: of the portrait, with its tokens.
            given: of the driving frames.
            source: the moved portraits' latents [batch, c, h, w].

        Returns:
            What is done to the windows, stacked: [batch, 6, s, s].
        """
        tokens = [reference.tokens[layer] for layer in self._layers]
        (made,) = self._change(noisy, given.motion, given.local, given.driver, source, *tokens)
        return made


def compiled_windows(pipe: Any, batch: int, reference: ReferenceFeatures) -> CompiledWindows | None:
    """The programs of a pipeline, made at the first call; the pipeline keeps them.

    Args:
        pipe: an `XPortraitPipeline` whose timesteps are set.
        batch: frames at a time.
        reference: of a portrait, with its tokens.

    Returns:
        None: there is no OpenVINO, or the model is none for it.
    """
    shapes = tuple(tuple(tokens.shape) for tokens in reference.tokens.values())
    timestep = pipe.scheduler.timesteps[0]
    key = (batch, int(timestep), shapes, *(id(getattr(pipe, name, None)) for name in _PARTS))
    if key not in pipe.programs:
        made = None
        try:
            if can_compile(pipe):
                sides = pipe.face_window, pipe.local_size
                made = CompiledWindows(pipe.networks, sides, timestep, batch, reference.tokens)
        except Exception as error:  # OpenVINO's own are plain RuntimeErrors; torch does it then
            _log.info("OpenVINO cannot run this model", exc_info=error)
        pipe.programs[key] = made
    found: CompiledWindows | None = pipe.programs[key]
    return found


def can_compile(pipe: Any) -> bool:
    """Whether OpenVINO is there, and could run a pipeline.

    Args:
        pipe: any.
    """
    if find_spec("openvino") is None or getattr(pipe, "face_window", None) is None:
        return False
    steps, parts = getattr(pipe.scheduler, "timesteps", ()), [getattr(pipe, name, None) for name in _PARTS]
    plain = all(
        weight.dtype == torch.float32 and weight.device.type == "cpu"
        for part in parts
        if part is not None
        for weight in part.parameters()
    )
    return plain and len(steps) == 1 and getattr(pipe, "local_control", None) is not None


class _Hints(nn.Module):
    """`XPortraitNetworks.read_motion` of tensors."""

    def __init__(self, networks: XPortraitNetworks) -> None:
        super().__init__()
        self.networks, self.parts = networks, nn.ModuleList(_parts_of(networks))

    def forward(self, frame: Tensor, parts: Tensor) -> tuple[Tensor, Tensor]:
        read = self.networks.read_motion(frame, parts)
        assert read.local is not None
        return read.motion, read.local


class _Change(nn.Module):
    """`XPortraitNetworks.change` of tensors."""

    def __init__(self, networks: XPortraitNetworks, timestep: Tensor, layers: Sequence[str]) -> None:
        super().__init__()
        self.networks, self.parts = networks, nn.ModuleList(_parts_of(networks))
        self.timestep, self.layers = timestep, layers

    def forward(
        self, noisy: Tensor, motion: Tensor, local: Tensor, driver: Tensor, source: Tensor, *tokens: Tensor
    ) -> Tensor:
        reference = ReferenceFeatures()
        reference.tokens = dict(zip(self.layers, tokens, strict=True))
        given = ControlFeatures(motion, local, driver)
        return stacked(self.networks.change(noisy, self.timestep, len(noisy), reference, given, source)[0])


class _Program:
    """A compiled network that takes and gives tensors."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled

    def __call__(self, *given: Tensor | None) -> list[Tensor]:
        arrays = [one.contiguous().numpy() for one in given if one is not None]
        return [torch.from_numpy(one) for one in self._compiled(arrays).to_tuple()]


@torch.no_grad()
def _program(network: nn.Module, given: Sequence[Tensor], name: str) -> _Program:
    """A network as a program: the one that was kept, or made of how it runs on an example."""
    core, path = _openvino().Core(), cache_folder() / "compiled" / f"{name}.xml"
    if path.is_file():
        model = core.read_model(path)
    else:
        model = _converted(network, given)
        with contextlib.suppress(OSError):
            _keep(model, path)
    threads = torch.get_num_threads()
    how = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    return _Program(core.compile_model(model, "CPU", how))


def _openvino() -> Any:
    """The package, kept from telling Intel over the network that it is used, and from leaving files for that."""
    told = "openvino_telemetry"
    if "openvino" not in sys.modules and told not in sys.modules:
        sys.modules[told] = None  # type: ignore[assignment]  # the import system's "there is none"
        try:
            import openvino
        finally:
            del sys.modules[told]
    import openvino

    return openvino


def _converted(network: nn.Module, given: Sequence[Tensor]) -> Any:
    """A network as a model of OpenVINO; not by its convert_model, which also tells Intel that it was called."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch import ConversionExtension
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    reader = FrontEndManager().load_by_framework("pytorch")
    reader.add_extension(ConversionExtension("aten::hypot", _hypot))  # which OpenVINO does not know
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes that become constants, as they may
        traced = TorchScriptPythonDecoder(network.eval(), example_input=tuple(given), shared_memory=False)
    model = reader.convert(reader.load(traced))
    model.reshape({index: tuple(one.shape) for index, one in enumerate(given)})
    return model


def _hypot(context: Any) -> Any:
    from openvino import opset13

    one, other = context.get_input(0), context.get_input(1)
    return opset13.sqrt(opset13.add(opset13.multiply(one, one), opset13.multiply(other, other))).outputs()


def _keep(model: Any, path: Path) -> None:
    """Write a program; its description comes last, and whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="writing-", dir=path.parent) as folder:
        made = Path(folder) / path.name
        _openvino().save_model(model, made, compress_to_fp16=False)
        for suffix in (".bin", ".xml"):
            os.replace(made.with_suffix(suffix), path.with_suffix(suffix))


def _parts_of(networks: XPortraitNetworks) -> list[nn.Module]:
    return [part for name in _PARTS if (part := getattr(networks, name)) is not None]


def _digest(networks: XPortraitNetworks) -> str:
    """A name for weights, configurations and versions: all that a program is made of but the sizes of its inputs."""
    made = hashlib.sha256(repr([__version__, _openvino().__version__, torch.__version__]).encode())
    for part in _parts_of(networks):
        made.update(repr(sorted(part.config.items())).encode())  # type: ignore[union-attr,operator]
        for name, weight in part.state_dict().items():
            made.update(name.encode())
            made.update(weight.contiguous().numpy().tobytes())
    return made.hexdigest()[:24]
