"""Few-step adapters for the backbone."""

from __future__ import annotations

from pathlib import Path

from mien.models.x_portrait.denoiser import DenoisingUNet
from mien.pipelines import loading


def load_lora(unet: DenoisingUNet, name: str) -> None:
    """Take over an LCM-LoRA.

    Args:
        unet: changed in place.
        name: a safetensors file, a folder or a hub id.

    Raises:
        WeightsError: if it does not fit.
    """
    # asked for here, for diffusers has it only where transformers is installed
    from diffusers.loaders import StableDiffusionLoraLoaderMixin as Loader

    path = Path(name)
    where = {"weight_name": path.name} if path.is_file() else {}
    try:
        weights, alphas = Loader.lora_state_dict(
            str(path.parent) if path.is_file() else name,
            unet_config=unet.config,
            use_safetensors=True,
            **where,
        )
        if not any(key.startswith("unet.") for key in weights):
            raise ValueError("no key for a U-Net")
        # only the U-Net's part: there is no text encoder that the rest could go to
        Loader.load_lora_into_unet(weights, alphas, unet, adapter_name="few_steps")
    except (OSError, ValueError, KeyError, RuntimeError, IndexError, AttributeError, TypeError) as error:
        raise loading.WeightsError(
            f"{name} is not an LCM-LoRA that fits this model's U-Net ({type(error).__name__}); use one made for it."
        ) from error
