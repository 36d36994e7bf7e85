"""An option is declared once: the command, tables of jobs, the web UI and the ComfyUI nodes say the same of it."""

from __future__ import annotations

import sys
from dataclasses import Field, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.main import get_command

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integrations"))

from comfyui_host import Host

from mien.animation.config import GAINS
from mien.animation.face_edit import FaceChange
from mien.cli.app import app
from mien.errors import InputError
from mien.evaluation.build_options import BuildOptions, HeadBuildOptions
from mien.jobs.batch_options import BatchOptions
from mien.jobs.data.options import (
    CastOptions,
    DriverOptions,
    GroupOptions,
    PackOptions,
    PrepareOptions,
    ReportOptions,
    TrackOptions,
)
from mien.jobs.edit_options import EditOptions
from mien.jobs.evaluate_options import AblationOptions, EvaluateOptions, SystemSpec
from mien.jobs.options import AnimateOptions, ConvertOptions, MotionOptions
from mien.jobs.run.job_table import column_names
from mien.options import REQUIRED, declarations, help_of
from mien.web.options import ServeOptions

PACK = Path(__file__).resolve().parents[2] / "integrations" / "comfyui"
DECLARED, CHANGES = declarations(AnimateOptions), declarations(FaceChange)
ALL = {**DECLARED, **CHANGES}
FILES = {"source", "portrait", "driver", "output"}  # no options: what is read and written
BY_HAND = {*FILES, "system", "help"}
# what no command has: inputs of the nodes alone
NODES_ALONE = {
    *(("MienControl", "fps"), ("MienKeyframe", "frame"), ("MienAnimateKeyframes", "frames")),
    *(("MienAnimateKeyframes", "easing"), ("MienPasteBack", "feather")),
    # the text of a list, where the command takes a file; 0 stands for its own rate
    *(("MienAnimateList", "expressions"), ("MienAnimateList", "fps")),
    # together --offload: saved graphs have the switch, what is moved at a time came later
    *(("MienLoadModel", "offload"), ("MienLoadModel", "offload_unit")),
}
RENAMED = {("MienControl", gain.removesuffix("_gain")): gain for gain in GAINS} | {
    ("MienLoadModel", "precision"): "dtype"
}
# a widget has no None and no "auto": what stands for them
STANDS_FOR = {("best_frame", -1), ("face", 0), ("steps", 0), ("guidance", -1.0)}


def limits(one: Field[Any]) -> tuple[Any, Any]:
    return one.metadata["least"], one.metadata["most"]


def check(words: str, declared: dict[str, Field[Any]], by_hand: set[str] | None = None) -> None:
    """A command has these options and no other, each with its default and its words.

    by_hand: what it has beside them.
    """
    command: Any = get_command(app)
    for word in words.split():
        command = command.commands[word]
    typed = {
        one.name: one for one in command.params if one.name not in (BY_HAND if by_hand is None else {*by_hand, "help"})
    }
    assert set(typed) == set(declared), "an option of the command is declared nowhere, or the other way round"
    for name, one in declared.items():
        assert typed[name].help == help_of(one), name
        if one.default is not REQUIRED:
            assert typed[name].default == (None if one.default == () else one.default), name
        if one.metadata["argument"]:
            assert typed[name].param_type_name == "argument", name
            continue
        assert typed[name].rich_help_panel == (one.metadata["group"] or None), name
        if one.metadata["flags"]:
            assert "/".join([*typed[name].opts, *typed[name].secondary_opts]) in "/".join(one.metadata["flags"]), name


def test_the_command_has_every_option_with_its_default_and_its_words() -> None:
    check("animate", DECLARED)


def test_tables_of_jobs_have_a_column_for_every_option() -> None:
    assert set(column_names()) == set(DECLARED) - {"dry_run"} | {"portrait", "driver", "output", "system"}


def test_edit_s_command_has_every_change_of_a_face_and_options_that_are_declared() -> None:
    edits = declarations(EditOptions)
    own = {"expression_from", "expression_gain", "face", "model", "steps", "guidance", "seed", "reader", "device"}
    own |= {"dtype", "paste_back", "watermark"}
    check("edit", {**CHANGES, **{name: edits[name] for name in own}})
    assert limits(edits["expression_gain"]) == limits(DECLARED["expression_gain"])
    with pytest.raises(InputError, match="--scale is 5.0, but it must be a number from 0.25 to 4"):
        FaceChange(zoom=5.0)
    with pytest.raises(InputError, match="--gaze-x is 2, but"):
        FaceChange(gaze_x=2)


def test_serve_s_command_has_every_option_of_the_page() -> None:
    serve = declarations(ServeOptions)
    assert set(serve) == {one.name for one in fields(ServeOptions)}
    check("serve", serve)
    for name in ("model", "reader", "device", "dtype"):
        assert serve[name].default == DECLARED[name].default
        assert serve[name].metadata["choices"] == DECLARED[name].metadata["choices"]


@pytest.mark.parametrize(
    ("words", "options", "by_hand"),
    [
        ("motion", MotionOptions, set()),
        ("convert x-portrait", ConvertOptions, set()),
        ("data avatar", CastOptions, set()),
        ("data avatars", GroupOptions, set()),
        ("data driver", DriverOptions, set()),
        ("data motion", TrackOptions, set()),
        ("data pack", PackOptions, set()),
        ("data prepare", PrepareOptions, set()),
        ("data look", ReportOptions, set()),
        ("batch", BatchOptions, set()),
        ("evaluate ablations", AblationOptions, set()),
        ("evaluate build real", BuildOptions, {"data", "out"}),
        ("evaluate build heads", HeadBuildOptions, {"data", "out"}),
    ],
)
def test_other_commands_have_the_options_that_their_jobs_declare(words: str, options: type, by_hand: set[str]) -> None:
    check(words, declarations(options), by_hand)


def test_evaluate_s_command_has_what_is_scored_and_how_our_systems_run() -> None:
    check("evaluate run", {**declarations(EvaluateOptions), **declarations(SystemSpec)}, set())
    for name in ("steps", "guidance", "seed", "device", "reader"):
        assert limits(declarations(SystemSpec)[name]) == limits(DECLARED[name]), name


def test_a_value_outside_of_the_limits_is_told_by_the_option_s_name() -> None:
    with pytest.raises(InputError, match="--people is 0, but it must be a whole number from 1 up"):
        GroupOptions(Path("out"), 0)
    with pytest.raises(InputError, match="--styled is 2, but it must be a number from 0 to 1"):
        GroupOptions(Path("out"), 1, styled=2)
    with pytest.raises(InputError, match="--dtype is 'int4', but it must be one of float32, float16, bfloat16"):
        ConvertOptions(Path("x.th"), Path("out"), dtype="int4")


def test_the_nodes_have_the_same_defaults_limits_and_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path, monkeypatch)
    host.load(PACK)
    seen: set[str] = set()
    for node, kind in ((name, kind) for name, kind in host.nodes.items() if name.startswith("Mien")):
        kinds = kind.INPUT_TYPES()
        for name, entry in {**kinds["required"], **kinds.get("optional", {})}.items():
            said = entry[1] if entry[1:] else {}
            if "default" not in said or (node, name) in NODES_ALONE:
                continue  # a connection, or what no option is
            called = RENAMED.get((node, name), name)
            assert called in ALL, f"{node}.{name} is declared nowhere"
            seen.add(called)
            _check_input(node, name, said, ALL[called])
    assert {*CHANGES, *GAINS} - {"blendshapes"} <= seen
    assert {"smooth", "relative", "pose_gain", "expression_gain", "steps", "guidance", "seed", "align"} <= seen
    assert {"best_frame", "face", "dtype", "reader", "model", "watermark"} <= seen


def _check_input(node: str, name: str, said: dict[str, Any], one: Field[Any]) -> None:
    """One widget of a node against the declaration of its option."""
    if (name, said["default"]) not in STANDS_FOR and (node, name) != ("MienAnimateApart", "relative"):
        assert said["default"] == one.default, (node, name)  # saved graphs have that one otherwise
    if one.metadata["least"] is not None:
        assert said["max"] == (2**31 - 1 if one.metadata["most"] is None else one.metadata["most"]), (node, name)
        assert said["min"] == (said["default"] if (name, said["default"]) in STANDS_FOR else one.metadata["least"])
        assert said.get("step") == one.metadata["step"], (node, name)
    if name != "model":  # the node lists more of them than a sentence of the command could
        assert said["tooltip"].startswith(one.metadata["help"].rstrip(".")), (node, name)


def test_the_web_ui_has_the_same_defaults_limits_and_words() -> None:
    gr = pytest.importorskip("gradio", reason="needs gradio: pip install 'mien[web]'")
    from mien.web import animate_tab as tab

    with gr.Blocks():
        shown = {**tab._motion(), **tab._apart(SimpleNamespace(has_dex=True)), **tab._picture()}
    sliders = {name: field for name, field in shown.items() if isinstance(field, gr.Slider)}
    assert len(sliders) >= 7
    for name, slider in sliders.items():
        least, most = limits(DECLARED[name])
        assert (slider.value, slider.minimum, slider.maximum) == (DECLARED[name].default, least, most), name
        assert (slider.step, slider.info) == (DECLARED[name].metadata["step"], DECLARED[name].metadata["help"]), name
    assert tab.RELATIVE[shown["relative"].value] == DECLARED["relative"].default
    for name in ("paste_back", "seed"):
        assert shown[name].value == DECLARED[name].default, name


def test_the_web_ui_s_sliders_of_a_face_stay_within_the_limits() -> None:
    gr = pytest.importorskip("gradio", reason="needs gradio: pip install 'mien[web]'")
    from mien.web import edit_tab as tab

    assert {*tab.HEAD, *tab.FACE} == set(CHANGES) - {"blendshapes"}
    with gr.Blocks():
        for name in (*tab.HEAD, *tab.FACE):
            one, slider = CHANGES[name], tab._slider(name)
            assert slider.value == one.default and slider.step == one.metadata["step"], name
            least, most = limits(one)
            assert least <= slider.minimum < slider.value < slider.maximum <= most, name
