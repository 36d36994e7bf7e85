"""Bundled models as the hub gets them, and loaded back from what it got."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from scripts.upload_models import WANTED, main, planned

from mien.errors import WeightsError
from mien.pipelines.x_portrait import XPortraitPipeline
from mien.weights import FOLDERS, bundled


class Hub:
    """Stands in for HfApi: keeps what it is given as the hub's own cache lays out a snapshot."""

    def __init__(self, cache: Path) -> None:
        self.cache, self.made = cache, []

    def create_repo(self, name: str, **_: Any) -> None:
        self.made.append(name)

    def upload_folder(self, *, repo_id: str, folder_path: Path, allow_patterns: list[str], **more: Any) -> str:
        assert repo_id in self.made and more["commit_message"].startswith("Mien ")
        home = self.cache / f"models--{repo_id.replace('/', '--')}"
        (home / "refs").mkdir(parents=True)
        (home / "refs" / "main").write_text("0" * 40)
        for name in allow_patterns:
            target = home / "snapshots" / ("0" * 40) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder_path / name, target)
        return f"https://huggingface.co/{repo_id}"


@pytest.mark.parametrize("name", list(FOLDERS))
def test_cards_say_what_the_hub_files_a_model_by(name: str) -> None:
    card = ModelCard.load(bundled(name) / "README.md")
    told = card.data.to_dict()
    assert all(told[key] for key in WANTED)
    assert told["license"] == "apache-2.0" and "Licence: Apache-2.0" in card.text and "## Limits" in card.text


def test_a_dry_run_lists_the_files_and_asks_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["someone", "--dry-run"], api=object()) == 0  # type: ignore[arg-type]
    told = capsys.readouterr().out
    for name in FOLDERS:
        folder = bundled(name)
        assert f"someone/mien-{folder.name.replace('_', '-')}: " in told
        for path in folder.rglob("*.safetensors"):
            assert f"{path.stat().st_size:,}  {path.relative_to(folder).as_posix()}" in told


def test_what_was_uploaded_is_loaded_by_its_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(tmp_path)
    assert main(["someone", "--only", "nano"], api=hub) == 0  # type: ignore[arg-type]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    loaded = XPortraitPipeline.from_pretrained("someone/mien-x-portrait-nano")
    ours = XPortraitPipeline.from_pretrained("nano")
    for name, value in ours.unet.state_dict().items():
        assert torch.equal(value, loaded.unet.state_dict()[name])
    with pytest.raises(WeightsError, match="cannot be fetched from the hub"):
        XPortraitPipeline.from_pretrained("someone/mien-nothing")


def test_damage_and_silent_cards_are_not_uploaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "x_portrait_nano"
    shutil.copytree(bundled("nano"), folder)
    monkeypatch.setattr("scripts.upload_models.bundled", lambda _: folder)
    (part,) = (folder / "unet").glob("*.safetensors")
    part.write_bytes(part.read_bytes()[:-1000])
    assert main(["someone", "--only", "nano"], api=object()) == 2  # type: ignore[arg-type]
    assert "not a whole safetensors file" in capsys.readouterr().err
    shutil.copytree(bundled("nano"), folder, dirs_exist_ok=True)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n\n# A model\n")
    with pytest.raises(WeightsError, match="does not say library_name, pipeline_tag, tags"):
        planned("someone", ["nano"])
