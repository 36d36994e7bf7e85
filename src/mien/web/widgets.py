"""Parts of the web UI that several tabs share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from mien.errors import InputError, MienError
from mien.media.files import readable_name
from mien.web import style
from mien.web.running import Running, StoppedError, Watch, Watches
from mien.web.workspace import Workspace

Result = TypeVar("Result")
Values = Mapping[Any, Any]  # what gradio gives for a set of components

STOPPED = "Stopped. Nothing was written."
_PATIENCE = 60.0  # seconds; a job ends at its next word

_log = logging.getLogger("mien.web")


class UploadedImage(gr.Image):
    """An image as the file it was uploaded as: our own reader opens it, turns it upright, or says what is wrong.

    gradio tells the browser what the signature of `__init__` names, so that one is left as it is.
    """

    is_template = True  # shown by the browser's part of gr.Image

    def preprocess(self, payload: Any) -> Any:
        """The path of the upload, or None."""
        return None if payload is None else payload.path


def picture(label: str, **more: Any) -> UploadedImage:
    """An image to be uploaded."""
    return UploadedImage(label=label, type="filepath", sources=["upload"], image_mode=None, **more)


def video(label: str, **more: Any) -> gr.Video:
    """A video to be uploaded, as the file it is: gradio would strip its sound or convert it."""
    return gr.Video(label=label, sources=["upload"], include_audio=True, **more)


def slider(option: Field[Any], label: str, **more: Any) -> gr.Slider:
    """A slider for a declared option. more: what it has otherwise than the option, or beside it."""
    about = option.metadata
    given = {"minimum": about["least"], "maximum": about["most"], "step": about["step"], "info": about["help"]}
    return gr.Slider(**{**given, "value": option.default, "label": label, **more})


def number(option: Field[Any], label: str, note: str = "", **more: Any) -> gr.Number:
    """A field for a declared option, 0 where its default is None. note: what that 0 means."""
    info = f"{option.metadata['help']} {note}".strip()
    return gr.Number(option.default or 0, label=label, info=info, minimum=0, min_width=140, **more)


def named(values: Values, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The values of named components."""
    return {name: values[component] for name, component in fields.items()}


def needed(value: str | None, what: str) -> Path:
    """A file that must be given. Raises InputError."""
    if not value:
        raise InputError(f"{what} is missing: choose one first")
    return Path(value)


def optional(value: str | None) -> Path | None:
    """A file that may be given."""
    return Path(value) if value else None


class Desk:
    """Starts jobs for the people in front of the web UI, tells how they go, and stops them."""

    def __init__(self, workspace: Workspace, seconds: float) -> None:
        self._workspace, self._seconds = workspace, seconds
        self._watches = Watches()

    def run(
        self,
        request: gr.Request,
        work: Callable[[Watch], Result],
        show: Callable[[Result, Watch], tuple[Any, ...]],
        outputs: int,
    ) -> Iterator[tuple[Any, ...]]:
        """Run a job; yields what the outputs become: the status first, then `outputs` others, which `show` gives."""
        unchanged = tuple(gr.skip() for _ in range(outputs))
        watch, person = Watch(self._seconds), request.session_hash or ""
        self._watches.add(person, watch)
        try:
            running = Running(work, watch)
            for status in running.follow():
                yield (style.progress(status), *unchanged)
            yield show(running.result(), watch)
        except StoppedError:
            yield (style.note(STOPPED), *unchanged)
        except Exception as error:
            sentence = self.sentence(error)
            gr.Warning(sentence, title="Not done")
            yield (style.note(sentence, "error"), *unchanged)
        finally:
            self._watches.remove(person, watch)

    def sentence(self, error: Exception) -> str:
        """What a user is told of an error; faults of the program are logged on the server."""
        if isinstance(error, MienError):
            text = readable_name(self._workspace.without_paths(" ".join(str(error).split())))
            first = text.partition(" ")[0]
            shown = text[:1].upper() + text[1:] if first.isalpha() else text  # else it begins with a file's name
            return shown + ("" if text.endswith(".") else ".")
        _log.error("a fault of the program", exc_info=error)
        return f"This is a fault of the program ({type(error).__name__}); the server's log says more."

    def stop(self, request: gr.Request) -> str:
        """Stop what a person runs and wait for its end; returns the status.

        Only then may gradio cancel what waits in the queue: a job that it cancels while it runs shows "Error".
        """
        running = self._watches.stop(request.session_hash or "")
        self._watches.wait(request.session_hash or "", _PATIENCE)
        return style.note(STOPPED if running else "Nothing is running.")

    def leave(self, request: gr.Request) -> None:
        """A person has closed the web UI."""
        self._watches.stop(request.session_hash or "")

    def stop_all(self) -> None:
        """The page is being shut."""
        self._watches.stop_all()
