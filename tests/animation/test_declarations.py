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

from mien.cli.app import app
from mien.jobs.options import AnimateOptions
from mien.jobs.run.job_table import column_names

PACK = Path(__file__).resolve().parents[2] / "integrations" / "comfyui"
DECLARED: dict[str, Field[Any]] = {one.name: one for one in fields(AnimateOptions) if "help" in one.metadata}


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


def test_the_nodes_have_the_same_defaults_and_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path, monkeypatch)
    host.load(PACK)

    def inputs(node: str) -> dict[str, Any]:
        return {name: entry[1] for name, entry in host.nodes[node].INPUT_TYPES()["required"].items() if entry[1:]}

    control = inputs("MienControl")
    for region in ("eyes", "mouth", "brows", "head"):
        one = DECLARED[f"{region}_gain"]
        assert (control[region]["default"], control[region]["min"], control[region]["max"]) == (1.0, *limits(one))
    assert (control["smooth"]["default"], control["smooth"]["min"], control["smooth"]["max"]) == (
        DECLARED["smooth"].default,
        *limits(DECLARED["smooth"]),
    )
    assert control["relative"]["default"] == DECLARED["relative"].default
    apart = inputs("MienAnimateApart")
    for name in ("pose_gain", "expression_gain"):
        assert (apart[name]["default"], apart[name]["min"], apart[name]["max"]) == (1.0, *limits(DECLARED[name]))
    sampling = inputs("MienAnimate")
    for name in ("steps", "guidance", "seed"):
        assert sampling[name]["max"] == limits(DECLARED[name])[1], name
    assert sampling["align"]["default"] == DECLARED["align"].default


def test_the_web_ui_has_the_same_defaults_and_stays_within_the_limits() -> None:
    gr = pytest.importorskip("gradio", reason="needs gradio: pip install 'mien[web]'")
    from mien.web import animate_tab as tab

    with gr.Blocks():
        shown = {**tab._motion(), **tab._apart(SimpleNamespace(has_dex=True)), **tab._picture()}
    sliders = {name: field for name, field in shown.items() if isinstance(field, gr.Slider)}
    assert len(sliders) >= 7
    for name, slider in sliders.items():
        least, most = limits(DECLARED[name])
        assert slider.value == DECLARED[name].default and least == slider.minimum and slider.maximum <= most, name
    assert tab.RELATIVE[shown["relative"].value] == DECLARED["relative"].default
    for name in ("paste_back", "seed"):
        assert shown[name].value == DECLARED[name].default, name
