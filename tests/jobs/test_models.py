from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mien.animation.loading import choose_device, choose_dtype, load_pipeline
from mien.errors import InputError, WeightsError
from mien.pipelines.x_portrait import XPortraitPipeline


def load(model: Path, **changes: object) -> XPortraitPipeline:
    return load_pipeline(str(model), device="cpu", **changes)


def test_device_and_precision_that_are_asked_for() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_dtype("bfloat16", torch.device("cpu")) == torch.bfloat16


def test_automatic_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    for tiles, wanted in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda tiles=tiles: tiles, raising=False)
        assert choose_dtype("auto", torch.device("cpu")) == wanted
    assert choose_dtype("auto", torch.device("cuda")) == torch.float16
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    assert choose_dtype("auto", torch.device("cuda")) == torch.bfloat16


def test_automatic_device_prefers_what_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").type == "mps"
    with pytest.raises(InputError, match="--device is cuda"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"


def test_a_folder_is_loaded_in_the_precision_asked_for(tiny_model: Path) -> None:
    pipe = load(tiny_model, dtype="bfloat16")
    assert {parameter.dtype for parameter in pipe.unet.parameters()} == {torch.bfloat16}
    assert pipe.default_options["num_inference_steps"] == 2


def test_a_file_that_is_written_anew_does_not_change_a_loaded_model(tiny_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    pipe = load(folder)
    before = {name: weight.clone() for name, weight in pipe.unet.state_dict().items()}
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    half = path.stat().st_size // 2
    with path.open("r+b") as file:
        file.seek(half)
        file.write(bytes(half))
    assert all(torch.equal(weight, before[name]) for name, weight in pipe.unet.state_dict().items())
    assert any(not torch.equal(weight, before[name]) for name, weight in load(folder).unet.state_dict().items())


def test_a_model_without_weights_is_checked_by_the_files_headers(tiny_model: Path, tmp_path: Path) -> None:
    empty = load(tiny_model, empty=True, dtype="bfloat16")
    assert empty.unet.dtype == torch.bfloat16 and empty.unet.conv_in.weight.is_meta
    broken = Path(shutil.copytree(tiny_model, tmp_path / "broken"))
    save_file({"conv_in.weight": torch.zeros(1)}, broken / "unet" / "diffusion_pytorch_model.safetensors")
    with pytest.raises(WeightsError, match="missing keys"):
        load(broken, empty=True)


def test_what_a_library_says_becomes_one_sentence(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("first line.\nsecond line")

    monkeypatch.setattr("mien.pipelines.x_portrait.XPortraitPipeline.from_pretrained", fails)
    with pytest.raises(WeightsError, match="cannot be loaded: first line$"):
        load(tiny_model)


def test_fast_uses_the_lcm_sampler(tiny_model: Path) -> None:
    assert type(load(tiny_model, fast=True).scheduler).__name__ == "LCMScheduler"


def test_lcm_weights_are_added(tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    layer = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    wide, deep = load(tiny_model).unet.get_submodule(layer).weight.shape
    key = "lora_unet_" + layer.replace(".", "_")
    weights = {f"{key}.lora_down.weight": torch.ones(2, deep), f"{key}.lora_up.weight": torch.ones(wide, 2)}
    save_file({**weights, f"{key}.alpha": torch.tensor(2.0)}, tmp_path / "lcm.safetensors")
    pipe = load(tiny_model, fast=True, lora=tmp_path / "lcm.safetensors")
    assert any("lora" in name for name, _ in pipe.unet.named_parameters())
