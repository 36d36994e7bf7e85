"""What the diffusion pipelines share: strict loading, encoding, decoding, windows, defaults, and the streaming run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiffusionPipeline, LCMScheduler, ModelMixin, SchedulerMixin
from diffusers.pipelines import pipeline_loading_utils
from diffusers.utils import BaseOutput
from numpy.typing import NDArray
from torch import Tensor

from mien.diffusion import GatedDDIMScheduler, StreamingSampler, WindowPlan, XPortraitDDIMScheduler
from mien.errors import WeightsError
from mien.models.sd_backbone.temporal import TemporalModules
from mien.motion.keypoint_motion import FaceBasis
from mien.motion.motion_limits import MotionLimits
from mien.pipelines import loading
from mien.pipelines.cost import decoder_bytes
from mien.pipelines.finishing import Checkpoint, Decoder
from mien.pipelines.pictures import PictureLike, as_output, to_pixels
from mien.pipelines.placement import free_bytes
from mien.pipelines.sampling import FrameDenoiser, Start
from mien.weights import bundled

SCHEDULERS: dict[str, type[SchedulerMixin]] = {
    "XPortraitDDIMScheduler": XPortraitDDIMScheduler,
    "DDIMScheduler": DDIMScheduler,
    "GatedDDIMScheduler": GatedDDIMScheduler,
    "LCMScheduler": LCMScheduler,
}
_DECODER_FRAMES = 8  # decoded at a time at most
_SMALL = 256  # pixels a side; that room holds eight of them, and counting takes longer than decoding them
_DECODER_ROOM = 2**30  # bytes for decoding on devices that do not tell what is free
Pipeline = TypeVar("Pipeline", bound="PortraitPipeline")


@dataclass
class PortraitOutput(BaseOutput):
    """`frames`: PIL pictures ("pil"), uint8 [f, h, w, 3] ("np") or a tensor [f, 3, h, w] in [-1, 1] ("pt")."""

    frames: Any


class PortraitPipeline(DiffusionPipeline):  # type: ignore[misc]
    """A diffusion pipeline that is given a portrait once and then makes frames of it, window by window.

    Attributes:
        networks_of: the parts that are networks, by name; where there are several kinds, config.json says which.
        exact_parts: those that stay in single precision.
        large_parts: those that are offloaded by layers, and quantised.
        own_options: the keys of model_index.json that the constructor takes beside the parts.
        own_defaults: sampling options of models that name none.
        bundled_name: of the weights that come with the package, see `mien.weights`.
    """

    networks_of: ClassVar[dict[str, type[ModelMixin] | tuple[type[ModelMixin], ...]]]
    exact_parts: ClassVar[tuple[str, ...]] = ()
    large_parts: ClassVar[tuple[str, ...]] = ()
    own_options: ClassVar[tuple[str, ...]] = ("image_size", "defaults", "crop_scale", "motion_limits")
    own_defaults: ClassVar[dict[str, Any]]
    bundled_name: ClassVar[str]

    scheduler: SchedulerMixin
    vae: AutoencoderKL
    temporal: TemporalModules | None
    _callback_tensor_inputs: ClassVar[list[str]] = ["latents"]

    # -- loading ---------------------------------------------------------------------------------------------------

    def register_modules(self, **parts: Any) -> None:
        """As in diffusers, which asks of every part whether torch.compile made it.

        None was where the compiler was never imported; asking would import it, a second or two for nothing.
        """
        asked = pipeline_loading_utils.is_compiled_module
        if "torch._dynamo" not in sys.modules:
            pipeline_loading_utils.is_compiled_module = lambda module: False
        try:
            super().register_modules(**parts)
        finally:
            pipeline_loading_utils.is_compiled_module = asked

    @classmethod
    def find(cls, name: str | Path, revision: str | None = None) -> Path:
        """The folder of a model.

        Args:
            name: a bundled model's name, a folder or a hub id.
            revision: of a hub id.

        Returns:
            A local folder.

        Raises:
            WeightsError: if there is none.
        """
        return (
            bundled(cls.bundled_name)
            if str(name) in ("nano", cls.bundled_name)
            else loading.find_folder(name, revision)
        )

    @classmethod
    def from_pretrained(
        cls: type[Pipeline],
        name: str | Path,
        *,
        torch_dtype: torch.dtype | None = None,
        revision: str | None = None,
        empty: bool = False,
        **parts: Any,
    ) -> Pipeline:
        """Load a bundled model ("nano"), a folder or a hub id, strictly.

        Args:
            name: which model.
            torch_dtype: precision of the networks; None: single.
            revision: of a hub id.
            empty: on the meta device, without weights, to count what a run needs; `exact_parts` are loaded.
            parts: networks that replace those of the folder.

        Raises:
            WeightsError: names the file and the keys when anything is missing, unexpected or damaged.
        """
        folder = cls.find(name, revision)
        index = loading.read_index(folder)
        if index.get("_class_name", cls.__name__) != cls.__name__:
            raise WeightsError(f"{folder} holds a {index['_class_name']}, not a {cls.__name__}: name another folder.")
        for part, kind in cls.networks_of.items():
            if part in parts:
                continue
            if part in cls._optional_components and index.get(part) in (None, [None, None]):
                parts[part] = None
            else:
                exact = part in cls.exact_parts
                parts[part] = loading.load_part(
                    kind, folder / part, None if exact else torch_dtype, empty=empty and not exact
                )
        if "scheduler" not in parts:
            parts["scheduler"] = loading.load_scheduler(SCHEDULERS, folder / "scheduler")
        return cls(**{key: index[key] for key in cls.own_options if key in index}, **parts)

    @property
    def image_size(self) -> int:
        """Side of the square that the model reads and makes, in pixels."""
        return int(self.config.image_size)

    @property
    def crop_scale(self) -> float:
        """How large the model knows faces: side of its square over the larger side of the landmarks' box."""
        return float(self.config.crop_scale)

    @property
    def face_window(self) -> int | None:
        """Side of the face windows that the model works on, pixels; None: it works on whole squares."""
        return None

    @property
    def face_basis(self) -> FaceBasis | None:
        """How keypoints move with expression scores, for models that move by read landmarks; None for others."""
        return None

    @property
    def default_options(self) -> dict[str, Any]:
        """Sampling options of this model: num_inference_steps, guidance_scale, window, overlap.

        Under "fast" stands what changes with few steps.
        """
        return {**self.own_defaults, **self.config.defaults}

    @property
    def motion_limits(self) -> MotionLimits | None:
        """How far a head may be taken from the portrait's place, size and turn; None: anywhere."""
        return MotionLimits.of(self.config.motion_limits)

    # -- the portrait ----------------------------------------------------------------------------------------------

    def _encode_sources(
        self, images: PictureLike | Sequence[PictureLike], generator: torch.Generator | None
    ) -> list[Any]:
        """Encode one portrait or several of a person; returns them as a list."""
        pictures: list[Any] = list(images) if isinstance(images, (list, tuple)) else [images]
        if not pictures:
            raise ValueError("set_portrait needs at least one picture")
        self._sources = [self._encode(to_pixels([picture], self.image_size), generator) for picture in pictures]
        return pictures

    @torch.no_grad()
    def _encode(
        self, pixels: Tensor, generator: torch.Generator | None = None, device: torch.device | None = None
    ) -> Tensor:
        """Pictures [n, 3, h, w] in [-1, 1] to scaled latents: the posterior's mode, or drawn with a generator.

        device: where the pipeline computes; None: every layer is asked, which takes longer than to encode in patches.
        """
        posterior = self.vae.encode(pixels.to(device or self._execution_device, self.vae.dtype)).latent_dist
        latents = posterior.mode() if generator is None else posterior.sample(generator)
        scaled: Tensor = latents * self.vae.config.scaling_factor
        return scaled

    @torch.no_grad()
    def _decode(self, latents: Tensor) -> Tensor:
        decoded: Tensor = self.vae.decode(latents.to(self.vae.dtype) / self.vae.config.scaling_factor).sample
        return decoded.float().clamp(-1, 1)

    def _finish(self, chunk: Sequence[tuple[Tensor, Start | None]]) -> Tensor:
        """Latents [c, h, w], each with what it started from, to pixels [n, 3, s, s] in [-1, 1]."""
        return self._decode(torch.stack([latents for latents, _ in chunk]))

    # -- the animation ---------------------------------------------------------------------------------------------

    def _plan(
        self, steps: int | None, scale: float | None, window: int | None, overlap: int | None
    ) -> tuple[WindowPlan, float]:
        """The windows and the guidance scale of a run, None being the model's own; sets the scheduler's timesteps."""
        defaults = self.default_options
        length = int(defaults["window"] if window is None else window)
        # a smaller window that was asked for must not fall over the model's own overlap
        shared = min(int(defaults["overlap"]), length - 1) if overlap is None else int(overlap)
        if length > (longest := self.longest_window(length)):
            raise ValueError(f"this model's temporal modules know windows of at most {longest} frames, not {length}")
        self.scheduler.set_timesteps(int(defaults["num_inference_steps"] if steps is None else steps))
        return WindowPlan(length, shared), float(defaults["guidance_scale"] if scale is None else scale)

    def longest_window(self, otherwise: int) -> int:
        """How many frames the temporal modules can see together.

        Args:
            otherwise: what is returned where there are none.

        Returns:
            Frames.
        """
        return otherwise if self.temporal is None else int(self.temporal.config.positions)

    def _run(
        self,
        denoiser: FrameDenoiser,
        frames: Iterable[Any],
        generator: torch.Generator | None,
        chunk_size: int | None,
        checkpoint: Checkpoint | None,
        note: Callable[[str], None] | None,
    ) -> Iterator[NDArray[Any]]:
        """Frames uint8 [h, w, 3] as they are finished.

        Args:
            denoiser: the denoise_fn.
            frames: what it reads of every frame that has not come out yet.
            generator: of the noise.
            chunk_size: frames decoded at a time; None: as many as there is memory for.
            checkpoint: keeps what is finished.
            note: gets sentences for the user.
        """
        state = None if checkpoint is None else checkpoint.state()
        init_latents = denoiser.init_latents(frames, generator, state)
        sampler = StreamingSampler(
            init_latents, self.scheduler, denoiser.plan, denoiser, generator, state, denoiser.device
        )
        decoder = Decoder(self._finish, note, self._decode_in_tiles)

        def size() -> int:
            return chunk_size or self._decoder_chunk(denoiser.device)

        return _decoded(sampler, denoiser, decoder, size, checkpoint)

    @cached_property
    def _decoder_bytes(self) -> int:
        """Bytes that decoding a frame takes."""
        return decoder_bytes(self.vae, self.image_size)

    def _decoder_chunk(self, device: torch.device | None = None) -> int:
        """How many frames to decode at a time by what is free now; device: where the pipeline computes, if known."""
        free = free_bytes(device or self._execution_device)
        if free is None and self.image_size <= _SMALL:
            return _DECODER_FRAMES
        # half of it: what is free lies in pieces
        room = _DECODER_ROOM if free is None else free // 2
        return max(1, min(_DECODER_FRAMES, room // max(1, self._decoder_bytes)))

    def _decode_in_tiles(self) -> bool:
        """Have pictures decoded in tiles of half their side from now on; False: they are already, or cannot be."""
        vae = self.vae
        if not hasattr(vae, "enable_tiling") or vae.use_tiling:
            return False
        vae.enable_tiling()
        pixels, side = vae.tile_sample_min_size // vae.tile_latent_min_size, self.image_size // 2
        vae.tile_sample_min_size, vae.tile_latent_min_size = side, max(1, side // pixels)
        return True

    @torch.no_grad()
    def animate(
        self, *driving: Any, output_type: str = "pil", return_dict: bool = True, **options: Any
    ) -> PortraitOutput | tuple[Any]:
        """All frames at once.

        Args:
            driving: as for `stream`.
            output_type: "pil", "np" or "pt", see `PortraitOutput`.
            return_dict: else a tuple.
            options: those of `stream`.
        """
        made = as_output(self._all_frames(*driving, **options), output_type)
        return PortraitOutput(frames=made) if return_dict else (made,)

    def _all_frames(self, *driving: Any, **options: Any) -> list[Any]:
        return list(self.stream(*driving, **options))


def _decoded(
    sampler: StreamingSampler,
    denoiser: FrameDenoiser,
    decoder: Decoder,
    size: Callable[[], int],
    checkpoint: Checkpoint | None,
) -> Iterator[NDArray[Any]]:
    while latents := list(islice(sampler, size())):
        first = sampler.emitted - len(latents)
        frames = decoder([(one, denoiser.release(index)) for index, one in enumerate(latents, first)])
        if checkpoint is not None:
            checkpoint.save(frames, lambda: denoiser.kept_with(sampler.state()))
        yield from frames
