"""Conversion is strict, runs no code, and leaves a whole folder or none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from typer.testing import CliRunner

from mien.cli.app import app
from mien.errors import InputError, OutputError, WeightsError
from mien.interop.checkpoint import read_checkpoint
from mien.interop.keys import key_map
from mien.interop.text_context import empty_prompt_context
from mien.interop.x_portrait import assemble, convert
from mien.jobs.convert import REPORT, convert_x_portrait
from mien.jobs.options import ConvertOptions
from mien.pipelines.x_portrait import XPortraitPipeline
from parity.official_model import HINT, OFFICIAL, official_state

CONTEXT = torch.arange(60.0).reshape(1, 5, 12)
RESNET = "model.diffusion_model.input_blocks.1.0.in_layers.2.weight"


@pytest.fixture(scope="module")
def _state() -> dict[str, Tensor]:
    return official_state()


@pytest.fixture
def state(_state: dict[str, Tensor]) -> dict[str, Tensor]:
    """An official state dict that a test may change."""
    return dict(_state)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    save_file({"context": CONTEXT}, tmp_path / "context.safetensors")
    return tmp_path / "context.safetensors"


def test_every_key_is_used_or_named(state: dict[str, Tensor]) -> None:
    parts, report = convert(state, OFFICIAL, CONTEXT)
    assert set(report.used) | set(report.constants) | set(report.unused) == set(state)
    assert set(report.unused) == {HINT}
    assert sum(report.parameters.values()) == sum(state[name].numel() for name in report.used) + CONTEXT.numel()
    for official, target in key_map(OFFICIAL).items():
        assert torch.equal(parts[target.part][target.name].flatten(), state[official].flatten())


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (RESNET, None, "1 missing keys: " + RESNET),
        (RESNET, torch.zeros(32, 32, 1, 1), "1 misshapen keys: " + RESNET),
        (RESNET, torch.zeros(32, 32, 3, 3, dtype=torch.int8), "1 misshapen keys: " + RESNET),
        ("model.diffusion_model.extra.weight", torch.zeros(1), "1 unknown keys: model.diffusion_model.extra.weight"),
        ("betas", torch.linspace(0.0001, 0.02, 1000), "other constants than X-Portrait's keys: betas"),
        ("alphas_cumprod", torch.full((1000,), torch.nan), "other constants than X-Portrait's keys: alphas_cumprod"),
    ],
)
def test_a_key_that_does_not_fit_is_named(state: dict[str, Tensor], name: str, value: Any, told: str) -> None:
    if value is None:
        del state[name]
    else:
        state[name] = value
    with pytest.raises(WeightsError, match=told):
        convert(state, OFFICIAL, CONTEXT)


def test_unknown_keys_can_be_let_through_and_are_reported(state: dict[str, Tensor]) -> None:
    state["optimizer.step"] = torch.zeros(1)
    _, report = convert(state, OFFICIAL, CONTEXT, allow_unknown=True)
    assert report.unused["optimizer.step"] == "unknown"


def test_a_context_of_another_shape_is_refused(state: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsError, match="context has shape"):
        convert(state, OFFICIAL, CONTEXT[:, :4])


@pytest.mark.parametrize("nested", [False, True])
def test_the_folder_loads_and_holds_the_weights(
    state: dict[str, Tensor], context: Path, tmp_path: Path, nested: bool
) -> None:
    checkpoint, output = tmp_path / "model.th", tmp_path / "new" / "model"
    torch.save({"state_dict": state} if nested else state, checkpoint)
    arguments = ["convert", "x-portrait", str(checkpoint), str(output), "--context", str(context)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert f"{len(key_map(OFFICIAL))} keys used" in result.stdout
    assert [path.name for path in output.parent.iterdir()] == ["model"]
    assert set(json.loads((output / REPORT).read_text())["unused"]) == {HINT}
    loaded = XPortraitPipeline.from_pretrained(output).networks
    parts, _ = convert(state, OFFICIAL, CONTEXT)
    expected = assemble(parts, OFFICIAL)
    assert loaded.window_head is None
    for part in parts:
        ours, wanted = getattr(loaded, part).state_dict(), getattr(expected, part).state_dict()
        assert set(ours) == set(wanted)
        assert all(torch.equal(ours[name], wanted[name]) for name in ours)


def test_half_precision_from_safetensors(state: dict[str, Tensor], context: Path, tmp_path: Path) -> None:
    save_file(state, tmp_path / "model.safetensors")
    convert_x_portrait(ConvertOptions(tmp_path / "model.safetensors", tmp_path / "out", context, "float16"))
    pipe = XPortraitPipeline.from_pretrained(tmp_path / "out", torch_dtype=torch.float16)
    assert torch.equal(pipe.unet.down_blocks[0].resnets[0].conv1.weight, state[RESNET].half())
    assert (tmp_path / "out/unet/diffusion_pytorch_model.safetensors").stat().st_size < 3 * sum(
        p.numel() for p in pipe.unet.parameters()
    )


class _Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("sprung",)


def test_a_checkpoint_that_would_run_code_is_not_opened(
    state: dict[str, Tensor], context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({**state, "hook": _Trap()}, "trap.th")
    result = CliRunner().invoke(app, ["convert", "x-portrait", "trap.th", "out", "--context", str(context)])
    assert result.exit_code == 2
    assert "would run code" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "sprung").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["model.th", "model.safetensors"])
def test_a_truncated_checkpoint_is_one_sentence(state: dict[str, Tensor], tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match="damaged"):
        read_checkpoint(path)


def test_old_torch_files_are_read(tmp_path: Path) -> None:
    torch.save({"x": torch.ones(2)}, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    assert read_checkpoint(tmp_path / "old.ckpt")["x"].tolist() == [1, 1]


def test_what_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    for content, told in ((torch.ones(1), "no state dict"), ({"epoch": 3}, "not a tensor: epoch")):
        torch.save(content, tmp_path / "strange.pt")
        with pytest.raises(WeightsError, match=told):
            read_checkpoint(tmp_path / "strange.pt")
    with pytest.raises(InputError, match="does not exist"):
        read_checkpoint(tmp_path / "nothing.pt")


def test_another_model_is_no_x_portrait(context: Path, tmp_path: Path) -> None:
    torch.save({"some.weight": torch.ones(1)}, tmp_path / "other.th")
    with pytest.raises(WeightsError, match="not an official X-Portrait checkpoint"):
        convert_x_portrait(ConvertOptions(tmp_path / "other.th", tmp_path / "out", context))
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not an empty folder"):
        convert_x_portrait(ConvertOptions(tmp_path / "model.th", tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_without_a_text_encoder_the_context_is_asked_for(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "model.th")
    with pytest.raises(InputError, match="--context"):
        convert_x_portrait(ConvertOptions(tmp_path / "model.th", tmp_path / "out"))


def test_the_empty_prompt_is_encoded_by_the_checkpoints_own_text_encoder() -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is optional")
    sizes = {"vocab_size": 20, "hidden_size": 128, "intermediate_size": 96, "num_hidden_layers": 2}
    settings = transformers.CLIPTextConfig(
        **sizes, num_attention_heads=2, max_position_embeddings=7, hidden_act="quick_gelu"
    )
    encoder = transformers.CLIPTextModel(settings).eval()
    state = {
        f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}": value
        for name, value in encoder.state_dict().items()
    }
    tokens = torch.tensor([[18, 19, 19, 19, 19, 19, 19]])
    with torch.no_grad():
        wanted = encoder(tokens).last_hidden_state
    got = empty_prompt_context(state)
    assert got.shape == wanted.shape and torch.allclose(got, wanted, atol=2e-6)
    assert float(wanted.std()) > 0.1
    del state["cond_stage_model.transformer.text_model.final_layer_norm.weight"]
    with pytest.raises(WeightsError, match="final_layer_norm"):
        empty_prompt_context(state)
