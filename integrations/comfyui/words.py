"""Messages in the words of the nodes: the jobs name options of the command line, which nobody sees in ComfyUI."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from mien.errors import MienError

Given = ParamSpec("Given")
Made = TypeVar("Made")

# longer ones first; what is not here is an input of the same name
_SAID = {
    "--system dex": "a DeX-Portrait model, such as dex-nano",
    "--system x": "an X-Portrait model, such as nano",
    "--model nano": "the model nano",
    "--device cpu": "ComfyUI started for the CPU",
    "--no-align": "switch align off",
    "--scale": "zoom",
    "(see mien edit --help)": "",
}
_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z0-9]*(?:-[a-z0-9]+)*)")


def in_node_words(text: str) -> str:
    """A message of the jobs with the nodes' inputs in place of the command's options."""
    for said, wanted in _SAID.items():
        text = text.replace(said, wanted)
    return _OPTION.sub(lambda option: option[1].replace("-", "_"), text).replace("  ", " ").strip()


def node_messages(run: Callable[Given, Made]) -> Callable[Given, Made]:
    """Wrap what a node runs: its errors speak of the node's inputs."""

    @functools.wraps(run)
    def wrapped(*args: Given.args, **kwargs: Given.kwargs) -> Made:
        try:
            return run(*args, **kwargs)
        except MienError as error:
            said = in_node_words(str(error))
            if said == str(error):
                raise
            raise type(error)(said) from error

    return wrapped
