"""The options of `mien serve`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mien.errors import InputError
from mien.faces.backends import check_reader_name
from mien.jobs.options import DEVICES, DTYPES, OFFLOADS, QUANTIZATIONS


@dataclass(frozen=True)
class ServeOptions:
    """Where the web UI is served, with which models, and how much it lets people ask for.

    host, port: where it listens; 127.0.0.1: this machine alone; port 0: any that is free. root_path: the path under
    which a proxy shows it, such as /mien. share: also reachable for three days under a public address that gradio
    lends. browser: open it. folder: where uploads and results lie while the web UI runs, None: the system's place for
    temporary files. model, dex_model, device, dtype, offload, quantize, reader: as for `mien animate`; dex_model None:
    the bundled one. file_mb: largest file. clip_seconds: longest driver. pairs: of portraits and drivers in a batch.
    queued: jobs that may wait. job_seconds: longest run of a job. keep_minutes: age at which files are deleted.
    Raises InputError for values that make no sense.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    root_path: str = ""
    share: bool = False
    browser: bool = False
    folder: Path | None = None
    model: str = "nano"
    dex_model: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    offload: str = "none"
    quantize: str = "none"
    reader: str = "auto"
    file_mb: int = 200
    clip_seconds: int = 60
    pairs: int = 20
    queued: int = 8
    job_seconds: int = 1800
    keep_minutes: int = 60

    def __post_init__(self) -> None:
        for name, least, most in (
            ("port", 0, 65535),
            ("file_mb", 1, 10**5),
            ("clip_seconds", 1, 10**5),
            ("pairs", 1, 10**4),
            ("queued", 1, 10**4),
            ("job_seconds", 1, 10**6),
            ("keep_minutes", 1, 10**5),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                shown = f"--{name.replace('_', '-')} is {value}"
                raise InputError(f"{shown}, but it must be a whole number from {least} to {most}")
        for name, choices in (
            ("device", DEVICES),
            ("dtype", DTYPES),
            ("offload", OFFLOADS),
            ("quantize", QUANTIZATIONS),
        ):
            if getattr(self, name) not in choices:
                raise InputError(f"--{name} is {getattr(self, name)!r}, but it must be one of {', '.join(choices)}")
        check_reader_name(self.reader)
        if self.root_path and not re.fullmatch(r"(/[\w.~-]+)+", self.root_path):
            raise InputError(f"--root-path is {self.root_path!r}, but it must be a path such as /mien")
        if self.folder is not None and not self.folder.is_dir():
            raise InputError(f"--folder is {self.folder}, which is no folder: make it first")
