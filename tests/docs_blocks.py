"""The code blocks of README.md and docs/*.md, and the command lines in them.

A block is run by tests/test_docs.py unless the line before its fence says why not: <!-- not run: REASON -->. Its
command lines are then still held against the real commands and options.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from typer.main import get_command

from mien.cli.app import app

ROOT = Path(__file__).resolve().parent.parent
ROOT_PAGES = [ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING", "RELEASING")]
PAGES = [*ROOT_PAGES, *sorted((ROOT / "docs").glob("*.md"))]
# shell, Python, data that is read, and what a command prints
LANGUAGES = {"sh", "python", "json", "yaml", "csv", "text", "mermaid"}
_MARK = re.compile(r"<!-- not run: (.+?) -->")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


@dataclass(frozen=True)
class Block:
    """code: without the fences; line: of the opening fence, from 1. excuse: why it is not run, None if it is."""

    page: Path
    line: int
    language: str
    code: str
    excuse: str | None

    @property
    def name(self) -> str:
        """For test ids: page and line."""
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order. ValueError for a fence that is never closed."""
    found, lines = [], page.read_text(encoding="utf-8").splitlines()
    opened: int | None = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if opened is None:
            opened = number
            continue
        before = next((text for text in reversed(lines[:opened]) if text.strip()), "")
        mark = _MARK.fullmatch(before.strip())
        code = "\n".join(lines[opened + 1 : number])
        found.append(Block(page, opened + 1, lines[opened][3:].strip(), code, mark and mark[1]))
        opened = None
    if opened is not None:
        raise ValueError(f"{page.name}:{opened + 1}: this fence is never closed")
    return found


@cache
def all_blocks() -> tuple[Block, ...]:
    """Of all pages."""
    return tuple(block for page in PAGES for block in blocks_of(page))


def command_lines(code: str) -> Iterator[list[str]]:
    """The words of every command of a shell block: continued lines joined, comments gone, $VARIABLES put in."""
    variables: dict[str, str] = {}
    for line in code.replace("\\\n", " ").splitlines():
        known = re.sub(r"\$(\w+)", lambda match: variables.get(match[1], match[0]), line)
        words = shlex.split(known, comments=True)
        while words and _ASSIGNMENT.match(words[0]):
            name, _, value = words.pop(0).partition("=")
            variables[name] = value
        if words:
            yield words


def mien_words(words: list[str]) -> list[str] | None:
    """What follows `mien` in a command, also in `accelerate launch ... -m mien` and `torchrun`; None: others."""
    if Path(words[0]).name == "mien":
        return words[1:]
    if words[0] in ("accelerate", "torchrun", "python") and "-m" in words:
        at = words.index("-m")
        return words[at + 2 :] if words[at + 1 : at + 2] == ["mien"] else None
    return None


def check_mien(words: list[str]) -> None:
    """Parse a command line of mien's; raises what click raises for an unknown command, option or value."""
    command: Any = get_command(app)
    path, rest = "mien", words
    while hasattr(command, "commands"):
        if not rest or rest[0] in ("-h", "--help", "--version"):
            return
        found = command.get_command(None, rest[0])  # of `mien train` the stages are made when they are asked for
        if found is None:
            raise ValueError(f"there is no command {path} {rest[0]}")
        path, command, rest = f"{path} {rest[0]}", found, rest[1:]
    if not {"-h", "--help"} & set(rest):
        command.make_context(path, list(rest))


def check_other(words: list[str]) -> None:
    """Hold what is no command of mien's against this checkout; ValueError for a program that no page may need."""
    program, rest = words[0], words[1:]
    if program == "make":
        _check_make(rest)
    elif program == "pip" or (program == "python" and rest[:2] == ["-m", "pip"]):
        _check_extras(" ".join(rest))
    elif program == "accelerate":
        _check_accelerate(rest)
    elif program == "torchrun":
        _check_torchrun(rest)
    elif program == "python" and rest[:2] == ["-m", "venv"]:
        pass  # Python's own
    elif program == "python" and rest[0] == "-m":
        if not (ROOT / "src" / rest[1].replace(".", "/")).with_suffix(".py").is_file():
            raise ValueError(f"there is no module {rest[1]}")
    elif program in ("python", "sh"):
        if not (ROOT / rest[0]).is_file():
            raise ValueError(f"there is no script {rest[0]}")
    elif program not in ("cd", "cp", "git", "curl", "docker", "ray", "export", "."):
        raise ValueError(f"nobody knows the program {program}")


def _check_make(targets: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in [word for word in targets if word not in ("-C", "mien")]:
        if "=" not in target and not re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE):
            raise ValueError(f"the Makefile has no target {target}")


def _check_extras(text: str) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for group in re.findall(r"(?:mien|\.)\[([\w,]+)\]", text):
        for extra in group.split(","):
            if not re.search(rf"^{extra} = \[", project, re.MULTILINE):
                raise ValueError(f"there is no extra {extra}")


def _check_accelerate(rest: list[str]) -> None:
    try:
        from accelerate.commands.launch import launch_command_parser
    except ImportError:  # an extra
        return
    parser = launch_command_parser()
    parser.error = _refuse
    parser.parse_args(rest[1:])


def _check_torchrun(rest: list[str]) -> None:
    from torch.distributed.run import get_args_parser

    parser = get_args_parser()
    parser.error = _refuse
    parser.parse_args(rest)


def _refuse(message: str) -> None:
    raise ValueError(f"the launcher: {message}")
