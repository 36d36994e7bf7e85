"""The tab that animates one portrait."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from mien.animation.config import GAINS
from mien.jobs.demo import FOLDER
from mien.jobs.options import AnimateOptions, animate_options
from mien.jobs.report import AnimateReport
from mien.options import declarations
from mien.web import sharing, style
from mien.web.running import Watch
from mien.web.studio import NO_DEX, Studio
from mien.web.widgets import Desk, Values, named, needed, number, optional, picture, slider, video

MODELS = {"X-Portrait": "nano", "DeX-Portrait": "dex-nano"}  # or what the page was started with in their place
RELATIVE = {"where the driving video is": False, "from the portrait's own on": True}
FACES: dict[str, int | str | None] = {"the clearest": None, "the largest": 0, "the second largest": 1, "all": "all"}
OPTIONS = declarations(AnimateOptions)
_OUTPUTS = 4
EXAMPLE_LIST = """expressions:
  - {at: 0}
  - {at: 0.6, smile: 0.8, yaw: 12}
  - {at: 1.4, blendshapes: {eyeBlinkLeft: 1}}
  - {at: 2.0}
"""


def options_from(inputs: dict[str, Any], folder: Path) -> AnimateOptions:
    """The options of a job from what the widgets say, by name. Raises InputError."""
    model = MODELS[inputs["system"]]
    dex = model == "dex-nano"
    portrait = needed(inputs["portrait"], "The portrait")
    pose, expression = optional(inputs["pose_from"]), optional(inputs["expression_from"])
    apart = dex and pose is not None and expression is not None
    listed = optional(inputs["expressions"])
    if listed is not None:
        return _performing(inputs, portrait, listed, model, folder)
    driver = optional(inputs["driver"]) if apart else needed(inputs["driver"], "The driving video")
    more: dict[str, Any] = {
        "start": inputs["start"] or None,
        "end": inputs["end"] or None,
        "smooth": inputs["smooth"],
        "relative": RELATIVE[inputs["relative"]],
        "face": FACES[inputs["face"]],
        "seed": int(inputs["seed"] or 0),
        "steps": None if not inputs["steps"] else int(inputs["steps"]),
        "paste_back": inputs["paste_back"],
        "preview": inputs["preview"],
    }
    if dex:
        more |= {"pose_from": pose, "expression_from": expression}
        more |= {name: inputs[name] for name in ("pose_gain", "expression_gain")}
    else:
        more |= {name: inputs[name] for name in GAINS}
    main = driver or expression or pose
    stem = f"{portrait.stem}--{main.stem if main is not None else 'motion'}"
    output = folder / f"{stem}.mp4"
    return animate_options(driver=driver, portraits=(portrait,), output=output, model=model, **more)


def _performing(inputs: dict[str, Any], portrait: Path, listed: Path, model: str, folder: Path) -> AnimateOptions:
    """Options of a portrait that performs a list: nothing else drives it."""
    return animate_options(
        driver=None,
        expressions=listed,
        portraits=(portrait,),
        output=folder / f"{portrait.stem}--{listed.stem}.mp4",
        model=model,
        face=FACES[inputs["face"]],
        seed=int(inputs["seed"] or 0),
        steps=None if not inputs["steps"] else int(inputs["steps"]),
        paste_back=inputs["paste_back"],
    )


def build(studio: Studio, desk: Desk) -> None:
    """The tab's widgets and what they do."""
    with gr.Row(equal_height=False, elem_id="animate-desk"):
        with gr.Column(scale=1, min_width=320):
            fields, go, stop, status, examples = _inputs()
        with gr.Column(scale=1, min_width=320):
            outputs = [status, *_outputs()]
    with gr.Accordion("Motion: how much of it, smoothing, a part of the video", open=False):
        fields |= _motion()
    with gr.Accordion("Head pose and expression from different videos (DeX-Portrait)", open=False):
        fields |= _apart(studio)
        apart = [_apart_examples(fields)] if studio.has_dex else []
    with gr.Accordion("Expressions over time, without a driving video", open=False):
        fields |= _listed()
    with gr.Accordion("Result: whole portrait or face, which face, steps, seed", open=False):
        fields |= _picture()

    def run(values: Values, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        def work(watch: Watch) -> AnimateReport:
            return studio.animate(options_from(named(values, fields), studio.workspace.result_folder()), watch)

        yield from desk.run(request, work, _shown, _OUTPUTS)

    def cancel(request: gr.Request) -> str:
        return desk.stop(request)

    settings: dict[str, Any] = {
        "fn": run,
        "inputs": set(fields.values()),
        "outputs": outputs,
        "concurrency_limit": 1,
        "concurrency_id": "jobs",
        "show_progress": "minimal",
        "show_progress_on": outputs[0],
        "api_visibility": "private",
    }
    started = [go.click(**settings), *(shown.load_input_event.then(**settings) for shown in (examples, *apart))]
    handed = sharing.script("#animate-result video")
    outputs[3].click(None, None, status, js=handed, queue=False, api_visibility="private")
    stopped = stop.click(cancel, None, outputs[0], queue=False, api_visibility="private")
    stopped.then(None, cancels=started, queue=False, api_visibility="private")


def _inputs() -> tuple[dict[str, Any], gr.Button, gr.Button, gr.HTML, gr.Examples]:
    fields: dict[str, Any] = {}
    with gr.Row(elem_id="animate-inputs"):
        fields["portrait"] = picture("Portrait", height=260, min_width=150)
        fields["driver"] = video("Driving video", height=260, min_width=150)
    with gr.Row():
        go = gr.Button("Animate", variant="primary", size="lg", scale=3, min_width=160, elem_id="animate-go")
        stop = gr.Button("Stop", size="lg", scale=1, min_width=80, elem_id="animate-stop")
    hint = style.note(
        "Choose a portrait and a driving video, then press Animate; or click an example, which starts at once."
        " The result appears under Result, with its files to download."
    )
    status = gr.HTML(hint, elem_id="animate-status")
    examples = gr.Examples(
        [[str(FOLDER / f"portrait_{number}.png"), str(FOLDER / "driver.mp4")] for number in (1, 2)],
        [fields["portrait"], fields["driver"]],
        label="Examples: one click runs them",
        elem_id="animate-examples",
        api_visibility="private",
    )
    return fields, go, stop, status, examples


def _motion() -> dict[str, Any]:
    fields: dict[str, Any] = {}
    gr.Markdown("How much of the driving video's motion is taken over:")
    with gr.Row():
        for gain in GAINS:
            fields[gain] = slider(OPTIONS[gain], gain.removesuffix("_gain").capitalize(), min_width=140)
    fields["smooth"] = slider(OPTIONS["smooth"], "Smoothing")
    fields["relative"] = gr.Radio(
        list(RELATIVE),
        value=next(words for words, relative in RELATIVE.items() if relative == OPTIONS["relative"].default),
        label="Where the face goes",
        info="Small models go only as far towards the driving video as the portrait has something to show.",
    )
    with gr.Row():
        fields["start"] = number(OPTIONS["start"], "Start")
        fields["end"] = number(OPTIONS["end"], "End", "0: to its end.")
    return fields


def _apart(studio: Studio) -> dict[str, Any]:
    fields: dict[str, Any] = {"system": gr.Radio(list(MODELS), value="X-Portrait", label="System")}
    if not studio.has_dex:
        gr.HTML(style.note(f"{NO_DEX}."))
    with gr.Row():
        fields["pose_from"] = video("Head pose from (else the driving video)", height=180, min_width=150)
        fields["expression_from"] = video("Expression from (else the driving video)", height=180, min_width=150)
    gr.Markdown("How much of each is taken over:")
    with gr.Row():
        fields["pose_gain"] = slider(OPTIONS["pose_gain"], "Head pose", min_width=140)
        fields["expression_gain"] = slider(OPTIONS["expression_gain"], "Expression", min_width=140)
    return fields


def _apart_examples(fields: dict[str, Any]) -> gr.Examples:
    return gr.Examples(
        [[str(FOLDER / "portrait_1.png"), "DeX-Portrait", str(FOLDER / "pose.mp4"), str(FOLDER / "driver.mp4")]],
        [fields[name] for name in ("portrait", "system", "pose_from", "expression_from")],
        label="Example: one click runs it",
        elem_id="apart-examples",
        api_visibility="private",
    )


def _listed() -> dict[str, Any]:
    gr.Markdown(
        "A list of moments, with sliders of *Edit* or blendshapes, in place of the driving video; in between the face"
        " goes over smoothly."
    )
    gr.Code(EXAMPLE_LIST, language="yaml", label="Such as", interactive=False, elem_id="animate-list-example")
    chosen = gr.File(label="List (.yaml)", file_types=[".yaml", ".yml"], height=120, elem_id="animate-list")
    return {"expressions": chosen}


def paste_back_box() -> gr.Checkbox:
    """Whether the result is a whole portrait."""
    return gr.Checkbox(OPTIONS["paste_back"].default, label="Put the face back into the whole portrait")


def _picture() -> dict[str, Any]:
    fields: dict[str, Any] = {}
    fields["paste_back"] = paste_back_box()
    fields["preview"] = gr.Checkbox(True, label="Also driving video, portrait and result side by side")
    fields["face"] = gr.Dropdown(list(FACES), value="the clearest", label="Which face of the portrait")
    with gr.Row():
        most = OPTIONS["steps"].metadata["most"]
        fields["steps"] = number(OPTIONS["steps"], "Steps", "0: the model's own.", maximum=most, precision=0)
        fields["seed"] = number(OPTIONS["seed"], "Seed", precision=0)
    return fields


def _outputs() -> list[Any]:
    still: dict[str, Any] = {"interactive": False, "loop": True}
    result = gr.Video(label="Result", autoplay=True, height=420, elem_id="animate-result", **still)
    share = gr.Button("Share the result", visible=False, elem_id="animate-share")
    side = gr.Video(label="Driving video, portrait and result", visible=False, elem_id="animate-side", **still)
    files = gr.File(label="Download", file_count="multiple", interactive=False, visible=False, elem_id="animate-files")
    return [result, side, share, files]


def _shown(report: AnimateReport, watch: Watch) -> tuple[Any, ...]:
    width, height = report.size
    notes = [*watch.notes, *report.warnings]
    if report.faces is not None and report.faces.found < report.faces.frames:
        notes.append(report.faces.summary())
    frames = f"{report.frames} frame" + ("s" if report.frames != 1 else "")
    status = style.note(f"Done: {frames} of {width} x {height} pixels.", "done", tuple(notes))
    preview = None if report.preview is None else str(report.preview)
    files = [str(path) for path in (report.output, report.preview) if path is not None]
    return (
        status,
        str(report.output),
        gr.update(value=preview, visible=preview is not None),
        gr.update(visible=True),
        gr.update(value=files, visible=True),
    )
