"""Model folders and cards."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard
from safetensors.numpy import save_file

from mien.errors import InputError, WeightsError
from mien.jobs.recipe.card import export_model, write_card
from mien.jobs.recipe.ledger import Ledger
from mien.jobs.recipe.project import DONE, Project, RecipeOptions
from mien.jobs.recipe.report import status_table

RECIPE = """
about: A toy.
inputs: {photos: portraits that may be learned from}
steps:
  - {name: groups, about: people, run: "data avatars --people {people} --cast {photos} --seed {seed} --out {out}",
     seed: 3, scaled: {people: 50}, core_hours: 0.5}
  - {name: vae, about: an autoencoder, run: "train vae --data {groups} --seed {seed} --out {out}", seed: 1,
     core_hours: 2}
  - {name: model, about: the folder, run: "train export {vae} -o {out}"}
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that is done."""
    folder = tmp_path / "runs" / "vae"
    (folder / "export" / "unet").mkdir(parents=True)
    save_file({"a": np.zeros(25_000, np.float32)}, folder / "export" / "unet" / "w.safetensors")
    told = {"step": 1234, "loss": {"l1": 0.08333}}
    (folder / "export" / "training.json").write_text(json.dumps(told))
    return folder


def test_a_model_folder_replaces_another_as_a_whole(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    out.mkdir()
    (out / "old.txt").touch()
    assert export_model(run, out, 0.2) == out
    assert [path.relative_to(out).as_posix() for path in out.rglob("*")] == ["unet", "unet/w.safetensors"]
    with pytest.raises(InputError, match="has 0.1 MB, more than 0.05"):
        export_model(run, out, 0.05)
    with (run / "export" / "unet" / "w.safetensors").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(WeightsError, match="w.safetensors is damaged"):
        export_model(run, out)
    assert (out / "unet" / "w.safetensors").stat().st_size > 100_000, "what was there stays"
    with pytest.raises(InputError, match="has exported nothing"):
        export_model(tmp_path, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "runs"], "nothing half made is left"


def test_a_card_tells_what_went_in_by_which_commands_and_at_what_cost(run: Path, tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(RECIPE)
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.png", "b.png", "LICENSE.md"):
        (photos / name).touch()
    project = Project(RecipeOptions(str(tmp_path / "toy.yaml"), tmp_path / "runs", {"photos": photos}, budget_scale=2))
    project.save_settings()
    ledger = Ledger(project.out)
    for digest, seconds in (("before", 1800.0), (project.digests["vae"], 3600.0)):
        attempt = ledger.begin("vae", digest)
        attempt.core_seconds, attempt.end = seconds, "done"
    ledger.save()
    project.write_stamp(project.recipe.step("vae"), DONE)
    (tmp_path / "scores.md").write_text("| PSNR | 30.1 |\n")
    card = write_card(project.out, tmp_path / "README.md", [tmp_path / "scores.md"]).read_text()
    for part in (
        "# toy\n\nA toy.",
        "- photos: portraits that may be learned from (2 files)",
        "   `mien data avatars --people 100 --cast PHOTOS --seed 3 --out groups`",
        "| vae | an autoencoder | 1 | 1.00 | 4.00 | 1,234 steps; l1 0.0833 |",
        "0.50 core-hours more went into what was made anew later.",
        "| PSNR | 30.1 |",
    ):
        assert part in card
    assert card.startswith("---\nlibrary_name: mien\n") and "license" not in card
    licensed = write_card(project.out, tmp_path / "README.md", licence="apache-2.0")
    said = ModelCard.load(licensed).data
    assert (said.license, said.library_name, said.pipeline_tag) == ("apache-2.0", "mien", "image-to-video")
    assert str(tmp_path) not in card and "train export" not in card
    lines = {
        line.split()[0]: line.split()
        for line in status_table(Project(RecipeOptions(str(tmp_path / "toy.yaml"), project.out))).splitlines()
    }
    assert lines["vae"] == ["vae", "done", "1.00", "4.00", "0.00"] and lines["all"] == ["all", "1.00", "5.00", "1.00"]
    with pytest.raises(InputError, match="holds no recipe"):
        write_card(tmp_path, tmp_path / "b.md")


def test_a_damaged_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger.json").write_text("{")
    with pytest.raises(InputError, match=r"ledger.json is damaged .*move it away"):
        Ledger(tmp_path)
