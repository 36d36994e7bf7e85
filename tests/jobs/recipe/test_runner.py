"""Recipes that are run: real commands, the quickest there are, each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mien.cli.app import app
from mien.errors import InputError
from mien.jobs.recipe.project import Project, RecipeOptions, at_work, is_at_work
from mien.jobs.recipe.report import status_table
from mien.jobs.recipe.runner import RecipeError, run_recipe

RECIPE = """
inputs: {photos: a folder with a head model}
steps:
  - {name: head, about: the head model, run: "data head-model {photos}/head_model.npz -o {out}", out: head.npz, core_hours: 0.01}
  - {name: copy, about: a copy of it, run: "data head-model {head} -o {out}/a.npz", core_hours: 0.02}
"""  # noqa: E501


@pytest.fixture
def photos(tmp_path: Path, pack: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "head_model.npz").symlink_to(pack)
    return folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "tiny.yaml"
    made.write_text(RECIPE, encoding="utf-8")
    return made


def options(file: Path, **more: object) -> RecipeOptions:
    return RecipeOptions(str(file), file.parent / "runs", **more)  # type: ignore[arg-type]


def words(project: Project) -> dict[str, str]:
    states = {step.name: project.state(step) for step in project.recipe.steps}
    return {name: f"{state.word}: {state.why}" if state.why else state.word for name, state in states.items()}


def test_steps_are_run_once_and_again_when_the_recipe_changes(file: Path, photos: Path) -> None:
    said: list[str] = []
    assert words(Project(options(file))) == {"head": "to do", "copy": "to do"}
    project = run_recipe(options(file, inputs={"photos": photos}), said.append)
    assert words(project) == {"head": "done", "copy": "done"}
    assert [line.partition(",")[0] for line in said] == ["head: begins", "head: done", "copy: begins", "copy: done"]
    runs = project.out
    ledger = json.loads((runs / "ledger.json").read_text())["steps"]
    assert all(len(ledger[name]["attempts"]) == 1 for name in ("head", "copy"))
    assert 0.1 < ledger["copy"]["attempts"][0]["core_seconds"] < 60, "an interpreter has been started"
    assert "| copy | a copy of it |" in (runs / "ledger.md").read_text()
    said.clear()
    run_recipe(options(file), said.append)  # the input need not be given again
    assert said == []

    file.write_text(RECIPE.replace("{out}/a.npz", "{out}/b.npz"), encoding="utf-8")
    assert words(Project(options(file))) == {"head": "done", "copy": "to redo: the recipe has changed"}
    project = run_recipe(options(file), said.append)
    assert [path.name for path in (runs / "copy").iterdir()] == ["b.npz"]
    assert [path.name for path in (runs / "recipe" / "replaced" / "copy.1").iterdir()] == ["a.npz"]
    assert 0 < project.spent(project.recipe.step("copy")) < project.ledger.core_hours("copy"), "what was thrown away"
    assert "core-hours more went into what was made anew" in (runs / "ledger.md").read_text()

    (photos / "another.png").write_bytes(b"1")
    assert words(Project(options(file))) == {"head": "to redo: photos has changed", "copy": "to redo: head has changed"}
    (photos / "another.png").unlink()
    photos.rename(photos.with_name("elsewhere"))
    assert words(Project(options(file))) == {"head": "done", "copy": "done"}, "inputs are needed for what remains only"


def test_a_failed_step_says_why_and_goes_on_when_that_is_mended(file: Path, photos: Path, pack: Path) -> None:
    file.write_text(
        "inputs: {photos: a folder}\nsteps:\n"
        "  - {name: bad, run: 'data head-model {photos}/later.npz -o {out}', out: bad.npz}\n"
        "  - {name: after, run: 'data head-model {bad} -o {out}', out: after.npz}\n"
        "  - {name: good, run: 'data head-model {photos}/head_model.npz -o {out}', out: good.npz}\n"
    )
    said: list[str] = []
    with pytest.raises(RecipeError, match=r"the step bad failed: .*later.npz does not exist.*recipe/logs/bad.log"):
        run_recipe(options(file, inputs={"photos": photos}, jobs=2), said.append)
    assert said[:2] == ["bad: begins", "good: begins"], "two jobs are begun before either has ended"
    states = words(Project(options(file)))
    assert states["bad"].startswith("failed: ") and (states["after"], states["good"]) == ("to do", "done")
    assert "failed" in status_table(Project(options(file)))
    file.write_text(file.read_text().replace("later", "head_model"))
    project = run_recipe(options(file, until="bad"), said.append)
    assert words(project) == {"bad": "done", "after": "to do", "good": "done"}


def test_what_is_used_from_elsewhere_is_not_made(file: Path, photos: Path, pack: Path) -> None:
    given = {"use": {"head": pack}, "inputs": {"photos": photos}}
    project = Project(options(file, **given))
    assert words(project) == {"head": f"given: {pack}", "copy": "to do"}
    assert project.commands(project.recipe.step("copy"), 1)[0][2] == str(pack)
    other = Project(options(file, inputs={"photos": photos}))
    assert project.digests["copy"] != other.digests["copy"]


def test_what_cannot_be_begun_is_said_before_anything_is(file: Path, photos: Path) -> None:
    given = {"photos": photos}
    (file.parent / "pending.yaml").write_text(RECIPE + "  - {name: x, run: 'train window --data {copy} --out {out}'}\n")

    def refused(said: str, asked: RecipeOptions) -> None:
        with pytest.raises(InputError, match=said):
            run_recipe(asked, print)
        assert not (file.parent / "runs" / "recipe" / "steps" / "head.json").exists()

    refused("the step head needs --photos: a folder with a head model", options(file))
    refused("nowhere, which is given as photos", options(file, inputs={"photos": Path("nowhere")}))
    refused("the recipe tiny has no input clips: give photos", options(file, inputs={"clips": photos}))
    refused("no step heads: give one of head, copy", options(file, inputs=given, only="heads"))
    refused("copy needs head, which is not done: give --until copy", options(file, inputs=given, only="copy"))
    refused("exclude each other", options(file, inputs=given, only="copy", until="copy"))
    refused(
        "the step x of the recipe pending trains window, a stage", options(file.parent / "pending.yaml", inputs=given)
    )
    (file.parent / "runs" / "copy").mkdir(parents=True)
    refused("is in the way of the step copy.*--use copy=", options(file, inputs=given))


def test_one_runner_at_a_time_and_one_recipe_a_folder(file: Path, photos: Path) -> None:
    with at_work(file.parent / "runs"), pytest.raises(InputError, match="another run is at work in"):
        run_recipe(options(file, inputs={"photos": photos}), print)
    Project(options(file, inputs={"photos": photos})).save_settings()
    other = file.with_name("other.yaml")
    other.write_text(RECIPE)
    with pytest.raises(InputError, match="holds the recipe tiny, not other: give another --out"):
        Project(options(other))


def test_a_step_that_outlives_its_runner_keeps_others_away(tmp_path: Path) -> None:
    with at_work(tmp_path) as handle:
        assert handle is not None
        step = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(handle,))
    assert is_at_work(tmp_path)
    step.communicate(b"\n")
    assert not is_at_work(tmp_path)


def test_the_command_line(file: Path, photos: Path) -> None:
    command = ["train", "recipe", str(file), "--out", str(file.parent / "runs")]
    shown = CliRunner().invoke(app, [*command, "--status", "--budget-scale", "0.5"])
    assert shown.exit_code == 0 and shown.output.splitlines()[0].split() == [
        "step",
        "state",
        "core-hours",
        "of",
        "left",
    ]
    assert shown.output.splitlines()[-1].split() == ["all", "0.00", "0.01", "0.01"], "half of 0.03, rounded"
    dry = CliRunner().invoke(app, [*command, "--dry-run", "--input", f"photos={photos}", "--until", "head"])
    assert dry.output == (
        f"# head: the head model\nmien data head-model {photos}/head_model.npz -o {file.parent}/runs/head.npz\n"
    )
    assert not (file.parent / "runs").exists(), "neither of the two has written anything"
    for wrong, said in (
        (["--budget-scale", "0"], "give a number above 0"),
        (["--input", "photos"], "give NAME=PATH"),
        ([], "the step head needs --photos"),
    ):
        refused = CliRunner().invoke(app, [*command, *wrong])
        assert refused.exit_code == 2 and said in refused.stderr and refused.stderr.count("\n") == 1
