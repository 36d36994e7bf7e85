"""The options of `mien serve`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mien.errors import InputError
from mien.faces.backends import check_reader_name
from mien.jobs.options import AnimateOptions
from mien.options import Checked, again, declared

# headings of options
_PAGE, _LIMITS, _MODEL = "Page", "Limits", "Model"


@dataclass(frozen=True)
class ServeOptions(Checked):
    """Where the web UI is served, with which models, and how much it lets people ask for; see the declarations.

    Raises:
        InputError: for values that make no sense.
    """

    host: str = declared("127.0.0.1", "Address to listen on; 0.0.0.0: all of this machine's.", _PAGE)
    port: int = declared(7860, "0: any that is free.", _PAGE, least=0, most=65535, flags=("-p", "--port"))
    root_path: str = declared("", "The path under which a proxy shows the web UI, such as /mien.", _PAGE)
    share: bool = declared(False, "Also lend a public address from gradio, for three days.", _PAGE)
    browser: bool = declared(False, "Open it in the browser.", _PAGE)
    folder: Path | None = declared(
        None, "Where uploads and results lie while it runs.  [default: among temporary files]", _PAGE
    )
    file_mb: int = declared(200, "Largest file, megabytes.", _LIMITS, least=1, most=10**5)
    clip_seconds: int = declared(60, "Longest driving video, seconds.", _LIMITS, least=1, most=10**5)
    pairs: int = declared(20, "Pairs in a batch.", _LIMITS, least=1, most=10**4)
    queued: int = declared(8, "Jobs that may wait.", _LIMITS, least=1, most=10**4)
    job_seconds: int = declared(1800, "Longest run of a job.", _LIMITS, least=1, most=10**6)
    keep_minutes: int = declared(60, "Age at which files are deleted.", _LIMITS, least=1, most=10**5)
    model: str = again(AnimateOptions, "model", help="nano (bundled), a folder or a hub id.", group=_MODEL)
    dex_model: str | None = declared(None, "DeX-Portrait's.  [default: the bundled one]", _MODEL)
    reader: str = again(AnimateOptions, "reader", group=_MODEL)
    device: str = again(AnimateOptions, "device", group=_MODEL)
    dtype: str = again(AnimateOptions, "dtype", group=_MODEL)
    offload: str = again(AnimateOptions, "offload", group=_MODEL)
    quantize: str = again(AnimateOptions, "quantize", group=_MODEL)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_reader_name(self.reader)
        if self.root_path and not re.fullmatch(r"(/[\w.~-]+)+", self.root_path):
            raise InputError(f"--root-path is {self.root_path!r}, but it must be a path such as /mien")
        if self.folder is not None and not self.folder.is_dir():
            raise InputError(f"--folder is {self.folder}, which is no folder: make it first")
