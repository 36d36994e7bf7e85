"""An option is declared once: the command, tables of jobs, the web UI and the ComfyUI nodes say the same of it."""

from __future__ import annotations

import sys
from dataclasses import Field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.main import get_command

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integrations"))

from comfyui_host import Host

from mien.animation.config import GAINS, declarations, told
from mien.animation.face_edit import FaceChange
from mien.cli.app import app
from mien.errors import InputError
from mien.jobs.options import AnimateOptions
from mien.jobs.run.job_table import column_names

PACK = Path(__file__).resolve().parents[2] / "integrations" / "comfyui"
DECLARED, CHANGES = declarations(AnimateOptions), declarations(FaceChange)
ALL = {**DECLARED, **CHANGES}


def limits(one: Field[Any]) -> tuple[Any, Any]:
    return one.metadata["least"], one.metadata["most"]


def test_the_command_has_every_option_with_its_default_and_its_words() -> None:
    command = get_command(app).commands["animate"]  # type: ignore[attr-defined]
    typed = {option.name: option for option in command.params}
    assert set(DECLARED) == set(typed) - {"source", "driver", "output", "system", "help"}
    for name, one in DECLARED.items():
        assert (typed[name].default, typed[name].help) == (one.default, one.metadata["help"]), name


def test_tables_of_jobs_have_a_column_for_every_option() -> None:
    assert set(DECLARED) - {"dry_run"} <= set(column_names())


def test_edit_s_command_has_every_change_of_a_face() -> None:
    typed = {option.name: option for option in get_command(app).commands["edit"].params}  # type: ignore[attr-defined]
    for name, one in CHANGES.items():
        assert (typed[name].default, typed[name].help) == (one.default, one.metadata["help"]), name
    with pytest.raises(InputError, match="--scale is 5.0, but it must be a number from 0.25 to 4"):
        FaceChange(zoom=5.0)
    with pytest.raises(InputError, match="--gaze-x is 2, but"):
        FaceChange(gaze_x=2)


def test_the_nodes_have_the_same_defaults_limits_and_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path, monkeypatch)
    host.load(PACK)

    def check(node: str, **more: str) -> None:
        """Every input that is called as an option, or as `more` says, against its declaration."""
        given = {name: entry[1] for name, entry in host.nodes[node].INPUT_TYPES()["required"].items() if entry[1:]}
        for name, said in given.items():
            one = ALL.get(more.get(name, name))
            if one is None or name in ("best_frame", "face", "fps", "model"):
                continue  # in the nodes these are other kinds of input than the option
            if node != "MienAnimateApart" or name != "relative":  # saved graphs have it so
                assert said["default"] == one.default or (one.default is None and said["default"] == said["min"])
            if one.metadata["most"] is not None:
                assert said["max"] == one.metadata["most"], name
                assert said["min"] == one.metadata["least"] or one.default is None, name
                assert said.get("step") == one.metadata["step"], name
            assert said["tooltip"].startswith(told(one).rstrip(".")), name
            seen.add(more.get(name, name))

    seen: set[str] = set()
    check("MienControl", eyes="eyes_gain", mouth="mouth_gain", brows="brows_gain", head="head_gain")
    for node in ("MienAnimate", "MienAnimateApart", "MienEdit", "MienKeyframe", "MienAnimateVideo"):
        check(node)
    assert {*CHANGES, *GAINS, "smooth", "relative", "pose_gain", "steps", "guidance", "seed", "align"} <= seen


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
        assert (slider.step, slider.info) == (DECLARED[name].metadata["step"], told(DECLARED[name])), name
    assert tab.RELATIVE[shown["relative"].value] == DECLARED["relative"].default
    for name in ("paste_back", "seed"):
        assert shown[name].value == DECLARED[name].default, name


def test_the_web_ui_s_sliders_of_a_face_stay_within_the_limits() -> None:
    gr = pytest.importorskip("gradio", reason="needs gradio: pip install 'mien[web]'")
    from mien.web import edit_tab as tab

    assert {*tab.HEAD, *tab.FACE} == set(CHANGES)
    with gr.Blocks():
        for name, one in CHANGES.items():
            slider = tab._slider(name)
            assert slider.value == one.default and slider.step == one.metadata["step"], name
            least, most = limits(one)
            assert least <= slider.minimum < slider.value < slider.maximum <= most, name
