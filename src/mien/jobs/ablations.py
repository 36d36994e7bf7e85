"""`mien evaluate ablations`: trained models by system and seed, scored on every benchmark, into tables and one page."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from mien.errors import InputError
from mien.evaluation.ablation_page import Part, write_ablation_page
from mien.evaluation.ablations import TrainedSystem, compare, write_directions
from mien.evaluation.benchmark import PROTOCOLS
from mien.evaluation.manifest import Manifest, ManifestComparison, ManifestSystem, read_manifest
from mien.evaluation.runs import read_run
from mien.evaluation.tables import LAYOUTS, full_layout, make_table, write_table
from mien.jobs.evaluate import evaluate
from mien.jobs.evaluate_options import AblationOptions, EvaluateOptions, SystemSpec
from mien.jobs.evaluation_systems import KINDS
from mien.jobs.run.progress import Progress

_FOLDER = re.compile(r"[^A-Za-z0-9_.+-]+")


@dataclass(frozen=True)
class AblationResult:
    """written: files, the page last. failed: clips without scores, and why. missing: metrics that were not computed."""

    written: list[Path]
    failed: dict[str, str]
    missing: dict[str, str]


def ablations(options: AblationOptions, progress: Progress) -> AblationResult:
    """Score everything that the manifest names and write the tables and the page.

    What was scored before stays, as with `mien evaluate run`.

    Args:
        options: see `AblationOptions`.
        progress: told about each run.

    Returns:
        The files that were written, and what could not be measured.

    Raises:
        InputError: for a manifest that does not fit, before any work.
    """
    manifest = read_manifest(options.manifest)
    specs = _specs(manifest, options)
    failed: dict[str, str] = {}
    missing: dict[str, str] = {}
    parts: list[Part] = []
    written: list[Path] = []
    for name, benchmark in manifest.benchmarks.items():
        folder = options.out / (_FOLDER.sub("-", name).strip("-.") or "benchmark")
        done = evaluate(
            EvaluateOptions(
                benchmark,
                folder,
                tuple(specs.values()),
                metrics=manifest.metrics,
                weights=(*manifest.weights, *options.weights),
                checksums=options.checksums,
                workers=options.workers,
            ),
            progress,
        )
        failed |= {f"{name}, {clip}": why for clip, why in done.outcome.failed.items()}
        missing |= done.missing
        runs = {key: read_run(folder / spec.folder) for key, spec in specs.items()}
        for told in manifest.comparisons:
            systems = [
                TrainedSystem(one.name, tuple(runs[_key(one, model)] for model in one.models)) for one in told.systems
            ]
            part = _part(name, told, systems)
            written += write_table(part.table, folder / "ablations")
            for comparison in (part.comparison, *part.others):
                written += write_directions(comparison, folder / "ablations")
            parts.append(part)
    written.append(write_ablation_page(options.out / "ablations.html", manifest, parts))
    return AblationResult(written, failed, missing)


def _part(benchmark: str, told: ManifestComparison, systems: list[TrainedSystem]) -> Part:
    """A paper's table, and all figures there are."""
    layout, others = LAYOUTS[told.table], []
    for protocol in PROTOCOLS:
        whole = full_layout(protocol, systems)
        if whole.columns:
            whole = replace(whole, name=f"{told.table}-{protocol}")
            others.append(compare(benchmark, whole, systems, told.baseline))
    return Part(compare(benchmark, layout, systems, told.baseline), make_table(layout, systems), tuple(others))


def _key(system: ManifestSystem, model: Path) -> tuple[str, Path]:
    return system.kind, model


def _specs(manifest: Manifest, options: AblationOptions) -> dict[tuple[str, Path], SystemSpec]:
    """A system for each model, once where several comparisons name it."""
    specs: dict[tuple[str, Path], SystemSpec] = {}
    tables: dict[str, ManifestComparison] = {}
    for told in manifest.comparisons:
        if told.table in tables:
            raise InputError(f"{options.manifest} has two comparisons of {told.table}: put their systems into one")
        tables[told.table] = told
        for system in told.systems:
            if system.kind not in KINDS:
                known = ", ".join(KINDS)
                raise InputError(
                    f"{options.manifest}: {system.name} is of no kind {system.kind!r}: choose from {known}"
                )
            for number, model in enumerate(system.models):
                if _key(system, model) not in specs:
                    name = f"{told.table} {system.name} seed {number}"
                    specs[_key(system, model)] = SystemSpec(
                        name, system.kind, str(model), seed=options.seed, device=options.device
                    )
    return specs
