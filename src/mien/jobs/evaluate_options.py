"""The options of `mien evaluate run` and `ablations`; light, so that the commands' help waits for nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mien.errors import InputError
from mien.faces.backends import check_reader_name
from mien.jobs.options import AnimateOptions
from mien.options import REQUIRED, Checked, again, declared

PREDICTIONS = "predictions"
_OLD_KINDS = {"truth": "ground-truth"}  # names of the first release
_FOLDER = re.compile(r"[^A-Za-z0-9_.+-]+")


@dataclass(frozen=True)
class SystemSpec(Checked):
    """Which system, in words that can be sent to a worker. What is not described here is as in `AnimateOptions`.

    Attributes:
        name: of its run.
        kind: one of `mien.jobs.evaluation_systems.KINDS`, or "predictions".
        model: a bundled model's name, a folder or a hub id, None for the kind's own; of predictions the folder.

    Raises:
        InputError: for an unknown reader, or a value outside of its limits.
    """

    name: str
    kind: str
    model: str | None = None
    steps: int | None = again(AnimateOptions, "steps", help="Denoising steps of our systems.", group="")
    guidance: float | None = again(AnimateOptions, "guidance", help="Guidance of our systems.", group="")
    seed: int = again(AnimateOptions, "seed", help="Seed of our systems.", group="")
    device: str = again(AnimateOptions, "device", group="")
    reader: str = again(AnimateOptions, "reader", group="")
    reader_model: Path | None = again(AnimateOptions, "reader_model", group="")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_reader_name(self.reader)

    @property
    def folder(self) -> str:
        """The name of its folder of results."""
        return _FOLDER.sub("-", self.name).strip("-.") or "run"


def parse_system(text: str) -> SystemSpec:
    """Which system is meant by [NAME=]KIND[:MODEL], with the defaults of everything else.

    Args:
        text: such as x-portrait, or "w/o local=x-portrait:runs/no-local".

    Raises:
        InputError: there is no such kind.
    """
    from mien.jobs.evaluation_systems import KINDS  # brings torch in

    kinds = "|".join(re.escape(kind) for kind in sorted((*KINDS, *_OLD_KINDS), key=len, reverse=True))
    found = re.fullmatch(rf"(?:(.+)=)?({kinds})(?::(.+))?", text)
    if found is None:
        raise InputError(f"there is no system {text!r}: choose one of {', '.join(KINDS)}, or give --predictions")
    name, given, model = found.groups()
    kind = _OLD_KINDS.get(given, given)
    return SystemSpec(name or kind, kind, model)


def parse_predictions(text: str) -> SystemSpec:
    """Somebody else's videos as a system.

    Args:
        text: NAME=FOLDER, or a FOLDER that gives its name.

    Raises:
        InputError: there is no such folder.
    """
    name, folder = "", text
    if not Path(text).is_dir():
        name, _, folder = text.partition("=")
    if not folder or not Path(folder).is_dir():
        raise InputError(f"{folder or text} is no folder: give --predictions NAME=FOLDER with a video for each pair")
    return SystemSpec(name or Path(folder).resolve().name, PREDICTIONS, folder)


def _checksum(text: str) -> tuple[str, str]:
    from mien.evaluation.weights import parse_checksum  # brings media in

    return parse_checksum(text)


@dataclass(frozen=True)
class EvaluateOptions(Checked):
    """Whom to score, on what, and by which metrics; see the declarations.

    Raises:
        InputError: nobody is to be scored, two systems have one name, or a folder is missing.
    """

    benchmark: Path = declared(REQUIRED, "A benchmark file of `mien evaluate build`.", argument=True)
    out: Path = declared(REQUIRED, "The folder for results and the report.", flags=("-o", "--output"))
    systems: tuple[SystemSpec, ...] = declared(
        (),
        "[NAME=]KIND[:MODEL]; KIND is x-portrait, dex, face-vid2vid, face-vid2vid-plus, landmarks, copy-source,"
        " copy-driver or ground-truth.",
        flags=("--system",),
        parse=parse_system,
    )
    side: int | None = declared(None, "Pixels a side, in place of the benchmark's.")
    metrics: tuple[str, ...] = declared((), "Only these; all for none.", flags=("--metric",))
    weights: tuple[Path, ...] = declared((), "A folder with networks that metrics need.", flags=("--weights",))
    checksums: tuple[tuple[str, str], ...] = declared(
        (),
        "NAME=SHA256: use this file of a network in place of the published one.",
        flags=("--checksum",),
        parse=_checksum,
    )
    workers: int = declared(1, "Processes.", least=1)
    ray: str | None = declared(None, "Address of a Ray cluster, or local.")
    predictions: tuple[SystemSpec, ...] = declared(
        (), "NAME=FOLDER with a video ID.mp4 for each pair.", flags=("--predictions",), parse=parse_predictions
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.everyone:
            raise InputError("nobody is to be scored: give --system or --predictions")
        folders = [spec.folder for spec in self.everyone]
        for spec in self.everyone:
            if folders.count(spec.folder) > 1:
                raise InputError(f"two systems are called {spec.name}: give one another name, as in NAME=x-portrait")
        for folder in self.weights:
            if not folder.is_dir():
                raise InputError(f"--weights {folder} is no folder: give one that holds the networks of metrics")

    @property
    def everyone(self) -> tuple[SystemSpec, ...]:
        """Who is scored: systems, then predictions."""
        return self.systems + self.predictions


@dataclass(frozen=True)
class AblationOptions(Checked):
    """Of `mien evaluate ablations`; see `mien.evaluation.manifest`."""

    manifest: Path = declared(
        REQUIRED,
        "A YAML file: benchmarks, and for each of a paper's tables its systems, a folder for each seed; its form stands"
        " in the manual, under Evaluation.",
        argument=True,
    )
    out: Path = declared(REQUIRED, "The folder for runs, tables and the page.", flags=("-o", "--output"))
    weights: tuple[Path, ...] = again(EvaluateOptions, "weights")
    checksums: tuple[tuple[str, str], ...] = again(EvaluateOptions, "checksums")
    seed: int = again(SystemSpec, "seed", help="Seed of the noise, the same for all.")
    device: str = again(SystemSpec, "device")
    workers: int = again(EvaluateOptions, "workers")
