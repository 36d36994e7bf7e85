"""`mien evaluate`: run systems on a benchmark, score them, and write tables and the report.

Each clip is kept as soon as it is done, under digests of all it was made from: a run that was stopped goes on where it
was, and one whose inputs have changed is done anew, clip by clip. The report is the same in either case.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mien.errors import InputError
from mien.evaluation.benchmark import (
    PROTOCOLS,
    Benchmark,
    Pair,
    check_side,
    pair_content,
    read_benchmark,
    write_benchmark,
)
from mien.evaluation.build_options import BuildOptions
from mien.evaluation.scoring import ScoreOptions, Scorer, unavailable
from mien.jobs.evaluate_options import EvaluateOptions, SystemSpec
from mien.jobs.evaluation_systems import load_system
from mien.jobs.run.progress import Progress
from mien.jobs.run.record import package_versions
from mien.jobs.run.workers import Outcome, spread, work_in
from mien.version import __version__

PACKAGES = ("torch", "diffusers", "numpy", "av", "opencv-python-headless", "torchmetrics")
_PARTS = ("", "answers", "scores", "features", "looks")


@dataclass
class Evaluation:
    """outcome: clips scored, kept and failed. missing: metrics that could not be measured, and why. written: files."""

    outcome: Outcome
    missing: dict[str, str]
    written: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class _Task:
    """One clip of one system, as a worker gets it."""

    spec: SystemSpec
    pair: Pair
    side: int
    folder: Path
    scoring: ScoreOptions


def build(kind: str, data: Path, out: Path, options: BuildOptions, every_group: bool = False) -> Path:
    """Write a benchmark file.

    Args:
        kind: "real" data or rendered "heads".
        data: their folder.
        out: the file.
        options: see `BuildOptions`.
        every_group: of heads, take also groups that were trained on.

    Returns:
        The file's path.

    Raises:
        InputError: the folder has no such data, or not enough.
    """
    from mien.evaluation.build_heads import build_heads
    from mien.evaluation.build_real import build_real

    made = build_real(data, options) if kind == "real" else build_heads(data, options, every_group)
    check_side(made.side, "--side")
    return write_benchmark(out, made)


def evaluate(options: EvaluateOptions, progress: Progress) -> Evaluation:
    """Run and score every system, then write the tables and the report into `options.out`.

    Args:
        options: see `EvaluateOptions`.
        progress: told how many clips are through.

    Returns:
        Clips scored, kept and failed, metrics that are missing, and the files written.

    Raises:
        InputError: a system or the benchmark cannot be had.
    """
    benchmark = read_benchmark(options.benchmark)
    side = benchmark.side if options.side is None else check_side(options.side, "--side")
    scoring = ScoreOptions(options.metrics, options.weights, options.checksums)
    lacking = unavailable(scoring)
    outcome, tasks, found = Outcome(), [], []
    for spec in options.everyone:
        system = load_system(spec)  # before any work: what cannot be had is told at once
        pairs = [pair for pair in benchmark.pairs if pair.protocol in system.protocols]
        protocols = system.protocols
        if spec.kind == "ground-truth":
            pairs = [pair for pair in pairs if pair.ground_truth is not None]
            protocols = frozenset(pair.protocol for pair in pairs)
        folder = options.out / spec.folder
        found.append((spec, folder, system.describe(), protocols))
        tasks += [(f"{spec.folder}/{pair.id}", (_Task(spec, pair, side, folder, scoring),)) for pair in pairs]
        system.close()
    with ExitStack() as stack:
        for _, folder, _, _ in found:
            for part in _PARTS:
                stack.enter_context(work_in(folder / part))
        spread(_one_clip, tasks, options.workers, "clips", outcome, progress, options.ray)
    networks = _scorer(scoring).networks
    runs = [_write_run(benchmark, side, lacking, networks, outcome, *entry) for entry in found]
    return Evaluation(outcome, lacking, report(runs, options.out, None))


def _one_clip(task: _Task) -> str | None:
    """In a worker: answer and score one clip; what is there already stays. Returns why it failed."""
    from mien.evaluation.benchmark import Medium
    from mien.evaluation.footage import load_footage, load_frames
    from mien.evaluation.looks import has_looks, write_looks
    from mien.evaluation.runs import kept_answer, read_record, write_answer, write_record
    from mien.evaluation.systems import answer

    name, folder = task.pair.id, task.folder
    try:
        system, scorer = _system(task.spec), _scorer(task.scoring)
        footage = load_footage(task.pair, task.side)
        asked = _digest(footage.digest, system.describe(), system.key(footage.case))
        kept = kept_answer(folder, name, asked)
        if kept is None:
            result = answer(system, footage)
            write_answer(folder, name, asked, result)
        scored, record = _digest(asked, scorer.digest), read_record(folder, name)
        if kept is not None and record is not None and record.scored == scored and has_looks(folder, name):
            return None
        if kept is not None:
            result = load_frames(Medium(kept), task.side)
        write_looks(folder, footage, result)
        write_record(folder, name, task.pair.protocol, asked, scored, scorer.score(footage, result))
    except InputError as error:
        return str(error)
    return None


_SYSTEMS: dict[SystemSpec, Any] = {}
_SCORERS: dict[ScoreOptions, Scorer] = {}


def _system(spec: SystemSpec) -> Any:
    """One model a process: it takes longer to load than to use."""
    if spec not in _SYSTEMS:
        for other in _SYSTEMS.values():
            other.close()
        _SYSTEMS.clear()  # systems come one after another, and two may not fit in memory
        _SYSTEMS[spec] = load_system(spec)
    return _SYSTEMS[spec]


def _scorer(options: ScoreOptions) -> Scorer:
    if options not in _SCORERS:
        _SCORERS[options] = Scorer(options)
    return _SCORERS[options]


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _write_run(
    benchmark: Benchmark,
    side: int,
    lacking: dict[str, str],
    networks: dict[str, dict[str, str]],
    outcome: Outcome,
    spec: SystemSpec,
    folder: Path,
    description: dict[str, Any],
    protocols: frozenset[str],
) -> Path:
    from mien.evaluation.runs import Run, write_run

    pairs = [{"id": p.id, "protocol": p.protocol, "tags": list(p.tags)} for p in benchmark.pairs]
    content = [pair_content(pair, Path("/")) for pair in benchmark.pairs]
    for entry in content:  # the same benchmark has the same digest wherever it lies
        for medium in entry.values():
            if isinstance(medium, dict):
                medium["path"] = Path(medium["path"]).name
    about = {"name": benchmark.name, "side": side, "digest": _digest(content)[:16], "pairs": pairs}
    start = f"{spec.folder}/"
    failed = {name.removeprefix(start): why for name, why in sorted(outcome.failed.items()) if name.startswith(start)}
    inapplicable = [protocol for protocol in PROTOCOLS if protocol not in protocols]
    run = Run(spec.name, folder, description, about, versions(), lacking, failed, inapplicable, networks=networks)
    write_run(run)
    return folder


def report(places: Sequence[Path], out: Path, names: Sequence[str] | None) -> list[Path]:
    """Write tables and the report of finished runs.

    Args:
        places: folders of runs, or above them.
        out: where to.
        names: of tables; None: those that the runs have figures for.

    Returns:
        What was written, the report last.
    """
    from mien.evaluation.page import write_page
    from mien.evaluation.runs import find_runs
    from mien.evaluation.tables import LAYOUTS, full_layout, make_table, write_table

    runs = find_runs(places)
    there = {clip.protocol for run in runs for clip in run.clips}
    layouts = [full_layout(protocol, runs) for protocol in ("self", "cross", "disentangled") if protocol in there]
    layouts += [
        layout
        for name, layout in LAYOUTS.items()
        if (names is None and there & {column.protocol for column in layout.columns}) or name in (names or ())
    ]
    made = [make_table(layout, runs) for layout in layouts]
    written = [path for table in made for path in write_table(table, out)]
    return [*written, write_page(out / "report.html", made, runs)]


def table(
    name: str, places: Sequence[Path], out: Path | None, score: EvaluateOptions | None, progress: Progress
) -> tuple[str, list[Path]]:
    """One paper's table over finished runs.

    Args:
        name: a key of `mien.evaluation.tables.LAYOUTS`.
        places: folders of runs; none: the published figures alone.
        out: where to write it; None: nowhere.
        score: systems to score first, whose runs are put in as well.
        progress: told how many clips are through.

    Returns:
        Its text, and the files written.
    """
    from mien.evaluation.runs import find_runs
    from mien.evaluation.tables import LAYOUTS, make_table, to_markdown, write_table

    folders = [*places]
    if score is not None:
        evaluate(score, progress)
        folders += [score.out / spec.folder for spec in score.everyone]
    made = make_table(LAYOUTS[name], find_runs(folders))
    return to_markdown(made), [] if out is None else write_table(made, out)


def fetch_weights(folder: Path, needs: Sequence[str], progress: Progress) -> list[Path]:
    """Download the networks that metrics need.

    Args:
        folder: where to.
        needs: names; none: all that can be fetched.
        progress: told the bytes.

    Returns:
        The files.

    Raises:
        InputError: there is no such network, or it cannot be reached.
    """
    from mien.evaluation.weights import fetch, fetchable

    paths = []
    for need in needs or fetchable():
        progress.stage(need, None)
        paths.append(fetch(need, folder, progress.update))
    return paths


def versions() -> dict[str, Any]:
    """What the numbers were made with."""
    return {"mien": __version__, "python": platform.python_version(), **package_versions(PACKAGES)}
