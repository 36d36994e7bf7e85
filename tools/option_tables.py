"""Write the tables of options into the pages of docs/, from the declarations of the command line.

    python tools/option_tables.py           writes them
    python tools/option_tables.py --check   says which pages are out of date; exit code 1 if one is

A page asks for a table by the two lines

    <!-- options of mien animate -->
    <!-- end of options -->

and everything between them is replaced. tests/test_docs.py checks that the committed tables are current.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from mien.cli.app import app

DOCS = Path(__file__).resolve().parents[1] / "docs"
_TABLE = re.compile(r"(<!-- options of mien ([a-z ]+?) -->\n)(.*?)(<!-- end of options -->)", re.DOTALL)
_DEFAULT = re.compile(r"\s*\[default: ([^\]]+)\]\s*$")


def option_table(words: str) -> str:
    """The Markdown tables of one command, a heading a panel.

    Args:
        words: What follows `mien` on the command line, such as "evaluate run".

    Raises:
        KeyError: If there is no such command.
    """
    command: Any = get_command(app)
    for word in words.split():
        command = command.commands[word]
    panels: dict[str, list[str]] = {}
    for option in command.params:
        if getattr(option, "hidden", False) or option.name == "help" or option.param_type_name == "argument":
            continue
        panels.setdefault(getattr(option, "rich_help_panel", None) or "", []).append(_row(option))
    return "\n".join(_lines(panels))


def current(page: str) -> str:
    """A page with its tables written anew."""
    return _TABLE.sub(lambda found: f"{found[1]}\n{option_table(found[2])}\n\n{found[4]}", page)


def _lines(panels: dict[str, list[str]]) -> Iterator[str]:
    for number, (panel, rows) in enumerate(panels.items()):
        if number:
            yield ""
        if panel:
            yield from (f"**{panel}**", "")
        yield from ("| option | default | what it does |", "|---|---|---|")
        yield from rows


def _row(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    text = " ".join((option.help or "").split())
    told = _DEFAULT.search(text)
    default = told[1] if told else _shown(option.default)
    return f"| {names} | {default} | {_DEFAULT.sub('', text).replace('|', chr(92) + '|')} |"


def _shown(default: Any) -> str:
    if default is None or default == "" or callable(default):
        return ""
    if isinstance(default, bool):
        return "on" if default else "off"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def main(arguments: list[str]) -> int:
    """The script; returns its exit code."""
    stale = [page for page in sorted(DOCS.glob("*.md")) if current(page.read_text("utf-8")) != page.read_text("utf-8")]
    for page in stale:
        if "--check" in arguments:
            print(f"{page.name} is out of date: python tools/option_tables.py")
        else:
            page.write_text(current(page.read_text("utf-8")), encoding="utf-8")
            print(page.name)
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
