"""The `mien` command: its list of commands, and what the user sees when something goes wrong.

Exit codes: 0 done; 1 a fault of the program (the traceback is in a log file); 2 something the user can fix, told in
one sentence; 130 interrupted.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mien.cli.animate import animate
from mien.cli.batch import batch
from mien.cli.benchmark import benchmark
from mien.cli.convert import convert
from mien.cli.data import data
from mien.cli.demo import demo
from mien.cli.doctor import doctor
from mien.cli.edit import edit
from mien.cli.evaluate import evaluate
from mien.cli.live import live
from mien.cli.motion import motion
from mien.cli.provenance import provenance
from mien.cli.serve import serve
from mien.cli.train import train
from mien.errors import MienError
from mien.media.files import readable_name
from mien.version import __version__


class OneSentenceGroup(TyperGroup):
    """Commands whose errors are one sentence on stderr, whoever raised them."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line `args`; leaves by SystemExit unless standalone_mode is off."""
        _write_any_name()
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except KeyboardInterrupt:
            code = 130
        except Exception as error:
            if not standalone_mode:
                raise
            code, sentence = describe(error)
            sys.stderr.write(f"mien: {sentence}\n")
        if not standalone_mode:
            return code
        sys.exit(code if isinstance(code, int) else 0)


def describe(error: Exception) -> tuple[int, str]:
    """Exit code and the sentence for an exception."""
    if isinstance(error, MienError):
        return 2, _one_line(str(error))
    usage = getattr(error, "format_message", None)
    if callable(usage):  # what click, or typer's own copy of it, raises for a command line it cannot read
        return 2, _one_line(f"{usage()} (see mien --help)")
    return 1, f"this is a fault of the program ({type(error).__name__}); please report it with the log {_log(error)}"


def _one_line(text: str) -> str:
    return readable_name(" ".join(text.split()))


def _write_any_name() -> None:
    """Let what is printed hold any name a disk may give: its bytes on stdout, for scripts; an escape on stderr."""
    codecs.register_error("mien.name", _encoded_name)
    for stream, errors in ((sys.stdout, "mien.name"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def _encoded_name(error: UnicodeError) -> tuple[bytes, int]:
    """An error handler of codecs: the byte that Python holds as a lone surrogate, or an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    parts = (
        bytes([ord(one) - 0xDC00]) if "\udc80" <= one <= "\udcff" else one.encode("ascii", "backslashreplace")
        for one in error.object[error.start : error.end]
    )
    return b"".join(parts), error.end


def _log(error: Exception) -> Path:
    handle, name = tempfile.mkstemp(prefix="mien-", suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f"mien {__version__}, Python {sys.version}\n{sys.argv}\n\n")
        file.writelines(traceback.format_exception(error))
    return Path(name)


app = typer.Typer(
    cls=OneSentenceGroup,
    name="mien",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mien {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Animate a portrait photo with the head motion and the expressions of a driving video."""


for command in (animate, batch, edit, live, motion, demo, serve, doctor, benchmark, provenance):
    app.command()(command)
app.add_typer(data)
app.add_typer(evaluate)
app.add_typer(train)
app.add_typer(convert, name="convert")

_ENVIRONMENT = {
    # What libraries have to say to programmers would hide the one sentence that is for the user.
    "DIFFUSERS_VERBOSITY": "error",
    "GLOG_minloglevel": "2",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    # numpy's matrices are small here: more threads save no time, and spin on the cores that torch works on. Read as
    # numpy is imported, which no command has done yet.
    "OPENBLAS_NUM_THREADS": "1",
}


def main() -> None:
    """The console command `mien`."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    app()
