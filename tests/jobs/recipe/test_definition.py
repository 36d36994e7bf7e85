"""Recipes as files: those of the package can be run, and what is wrong in one is said."""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec
from pathlib import Path

import pytest

from docs_blocks import check_mien
from mien.errors import InputError
from mien.jobs.recipe.definition import content_digest, load_recipe, missing_stages, recipe_names
from mien.jobs.recipe.project import Project, RecipeOptions
from mien.training.registry import STAGES

PENDING: set[str] = set()  # stages that recipes name before there are such

GOOD = """
inputs: {photos: portraits}
steps:
  - {name: cast, run: "data avatar {photos} {out}"}
  - name: groups
    run: data avatars --people {people} --cast {cast} --seed {seed} --out {out}
    seed: 3
    core_hours: 2
    scaled: {people: 100, share: 0.5}
  - {name: vae, run: "train vae --data {groups}:{share} --budget-minutes {core_minutes} --out {out}", core_hours: 1.5,
     scaled: {share: 0.5}}
"""


def written(folder: Path, text: str) -> Path:
    file = folder / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("name", recipe_names())
def test_every_command_line_of_the_packages_recipes_can_be_parsed(name: str, tmp_path: Path) -> None:
    project = Project(RecipeOptions(name, tmp_path))
    project.inputs = {given: tmp_path / given for given in project.recipe.inputs}
    assert project.recipe.about and all(step.about for step in project.recipe.steps)
    for step in project.recipe.steps:
        pending = missing_stages([step])
        assert set(pending.values()) <= PENDING
        for words in project.commands(step, 1):
            if words[0] == "python":
                assert find_spec(words[2]) is not None, words
            elif not pending:
                check_mien(words)


def test_stages_that_have_come_are_no_longer_pending() -> None:
    assert not PENDING & set(STAGES)


@pytest.mark.parametrize("name", ["nano", "dex-nano"])
def test_who_performs_in_the_benchmark_of_expressions_is_held_out(name: str) -> None:
    groups = [step for step in load_recipe(name).steps if step.commands[0][:2] == ("data", "avatars")]
    assert groups
    for step in groups:
        words = step.commands[0]
        assert {words[at + 1] for at, word in enumerate(words) if word == "--hold-out"} == {"076", "092"}


def test_needs_are_read_off_the_command_lines(tmp_path: Path) -> None:
    recipe = load_recipe(str(written(tmp_path, GOOD.replace(", share: 0.5}\n  -", "}\n  -"))))
    needs = {step.name: recipe.needs(step) for step in recipe.steps}
    assert needs == {"cast": ["photos"], "groups": ["cast"], "vae": ["groups"]}
    assert [step.name for step in recipe.up_to("groups")] == ["cast", "groups"]
    with pytest.raises(InputError, match="no step window: give one of cast, groups, vae"):
        recipe.up_to("window")
    groups, vae = recipe.steps[1:]
    assert groups.numbers(0.001) == {"people": 1, "core_minutes": 0.12}, "amounts stay whole and above 0"
    assert vae.numbers(0.1) == {"share": 0.05, "core_minutes": 9.0}
    values = {"groups": "G H", "out": "O", **vae.numbers(1.0)}
    assert vae.filled(values) == [["train", "vae", "--data", "G H:0.5", "--budget-minutes", "90", "--out", "O"]]


def test_a_digest_is_of_what_decides_what_comes_out(tmp_path: Path) -> None:
    groups = load_recipe(str(written(tmp_path, GOOD.replace(", share: 0.5}\n  -", "}\n  -")))).step("groups")
    digest = groups.digest(1.0, {"cast": "a"})
    same = dataclasses.replace(groups, about="other words", threads=4, core_hours=9.0)
    assert same.digest(1.0, {"cast": "a"}) == digest, "an estimate of the cost, words and threads decide nothing"
    others = [dataclasses.replace(groups, seed=4), dataclasses.replace(groups, scaled={"people": 99})]
    assert len({digest, *(o.digest(1.0, {"cast": "a"}) for o in others)}) == 3
    assert digest not in (groups.digest(0.5, {"cast": "a"}), groups.digest(1.0, {"cast": "b"}))


def test_a_folders_digest_is_of_names_and_sizes(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "one.png").write_bytes(b"abc")
    before = content_digest(folder)
    folder.rename(tmp_path / "b")
    assert content_digest(tmp_path / "b") == before
    (tmp_path / "b" / "two.png").write_bytes(b"")
    assert content_digest(tmp_path / "b") != before


@pytest.mark.parametrize(("text", "said"), [
    ("[", "cannot be read as YAML"),
    ("steps: []", "is no recipe"),
    ("steps: [{name: a}]", "every step needs name and run"),
    ("steps: [{name: a, run: x, budget: 3}]", "the step a has budget; known are about, core_hours"),
    ("steps: [{name: A b, run: x}]", "needs another name"),
    ("steps: [{name: recipe, run: x}]", "needs another name"),
    ("steps: [{name: a, run: 'x {out}'}, {name: a, run: x}]", "needs another name"),
    ("steps: [{name: a, run: 'x {b}'}, {name: b, run: x}]", "speaks of {b}, which no input and no step before it"),
    ("steps: [{name: a, run: 'x {seed}'}]", "speaks of {seed}"),
    ("steps: [{name: a, run: x, seed: 1}]", "has a seed that its command lines do not use"),
    ("steps: [{name: a, run: 'x {n}', scaled: {n: -1}}]", "cannot be read (-1 is no number above 0)"),
    ("steps: [{name: a, run: x, core_hours: 0}]", "core_hours above 0"),
    ("steps: [{name: a, run: 'x \"y'}]", "quotation marks"),
    ("steps: [{name: a, run: x, out: ../y}]", "cannot write to ../y"),
    ("steps: [{name: a, run: x, out: recipe/y}]", "cannot write to recipe/y"),
    ("steps: [{name: a, run: python -m os}]", "runs a program that is not mien's"),
])  # fmt: skip
def test_what_is_wrong_in_a_recipe_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        load_recipe(str(written(tmp_path, text)))
    assert said in str(error.value) and "mine.yaml" in str(error.value)


def test_there_are_recipes_of_some_names_only(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no recipe nanno: give dex-nano or nano, or a file that ends in .yaml"):
        load_recipe("nanno")
    with pytest.raises(InputError, match="does not exist"):
        load_recipe(str(tmp_path / "none.yaml"))
