"""The file that says which ablations are scored: trained models by system and seed, benchmarks, and the paper's table.

A YAML (or JSON) file; paths are relative to it:

    title: Ablations at nano size
    budget: one core-hour each, from the same start    # told on the page
    benchmarks:
      rendered heads: heads.json                       # of mien evaluate build
      real clips: real.json
    weights: [networks]                                # folders with networks that metrics need; may be left out
    metrics: [aed, pose, identity_retail]              # all for none
    comparisons:
      - table: table2                                  # whose figures stand beside; table1, dex-table1, dex-table2
        kind: x-portrait                               # of --system
        baseline: full model
        systems:                                       # named as the paper names its rows; one folder for each seed
          full model: [full/0/export, full/1/export]
          (b) w/o local control: [no-local/0/export, no-local/1/export]
      - table: table1
        baseline: Face Vid2vid
        systems:
          Face Vid2vid: {kind: face-vid2vid, models: [f/0/export]}
          Face Vid2vid Plus: {kind: face-vid2vid-plus, models: [f-plus/0/export]}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.errors import InputError
from mien.evaluation.registry import chosen_metrics
from mien.evaluation.tables import LAYOUTS
from mien.media.files import readable_file

_KEYS = {"title", "budget", "benchmarks", "weights", "metrics", "comparisons"}
_COMPARISON_KEYS = {"table", "kind", "baseline", "systems"}


@dataclass(frozen=True)
class ManifestSystem:
    """A system of a comparison. kind: of `mien evaluate run --system`. models: a folder for each seed."""

    name: str
    kind: str
    models: tuple[Path, ...]


@dataclass(frozen=True)
class ManifestComparison:
    """Systems that are held against one of them. table: a key of `tables.LAYOUTS`."""

    table: str
    baseline: str
    systems: tuple[ManifestSystem, ...]


@dataclass(frozen=True)
class Manifest:
    """The file, read. text: as it stands there, for the page."""

    title: str
    budget: str
    benchmarks: dict[str, Path]
    weights: tuple[Path, ...]
    metrics: tuple[str, ...]
    comparisons: tuple[ManifestComparison, ...]
    text: str


def read_manifest(path: Path) -> Manifest:
    """Read and check it, every folder and file that it names included. Raises InputError that says what is wrong."""
    import yaml

    readable_file(path, "manifest")
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        problem = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as YAML ({problem}): see mien evaluate ablations --help") from error
    _check_keys(content, str(path), _KEYS, {"benchmarks", "comparisons"})
    benchmarks = {
        str(name): _there(path, place, f"benchmark {name}", False)
        for name, place in _mapping(content["benchmarks"], path, "benchmarks").items()
    }
    weights = tuple(
        _there(path, place, "weights", True) for place in _list(content.get("weights", []), path, "weights")
    )
    metrics = tuple(str(name) for name in _list(content.get("metrics", []), path, "metrics"))
    entries = _list(content["comparisons"], path, "comparisons")
    comparisons = tuple(_comparison(path, f"{path}, comparison {n}", entry) for n, entry in enumerate(entries, 1))
    if not benchmarks or not comparisons:
        raise InputError(f"{path} names no {'comparisons' if benchmarks else 'benchmarks'}: add one at least")
    title, budget = str(content.get("title", "Ablations")), str(content.get("budget", "not told"))
    return Manifest(title, budget, benchmarks, weights, chosen_metrics(metrics) if metrics else (), comparisons, text)


def _comparison(path: Path, where: str, entry: object) -> ManifestComparison:
    _check_keys(entry, where, _COMPARISON_KEYS, {"table", "baseline", "systems"})
    assert isinstance(entry, dict)
    table, baseline = str(entry["table"]), str(entry["baseline"])
    if table not in LAYOUTS:
        raise InputError(f"{where}: there is no table {table!r}: choose from {', '.join(LAYOUTS)}")
    systems = tuple(
        _system(path, where, str(name), told, entry.get("kind"))
        for name, told in _mapping(entry["systems"], path, f"{where}: systems").items()
    )
    if baseline not in [system.name for system in systems]:
        raise InputError(f"{where}: the baseline {baseline!r} is none of its systems: name one of them")
    if len(systems) < 2:
        raise InputError(f"{where} has one system: nothing can be held against {baseline}, so add another")
    return ManifestComparison(table, baseline, systems)


def _system(path: Path, where: str, name: str, told: object, kind: object) -> ManifestSystem:
    if isinstance(told, dict):
        _check_keys(told, f"{where}, {name}", {"kind", "models"}, {"models"})
        kind, told = told.get("kind", kind), told["models"]
    if not isinstance(kind, str):
        raise InputError(f"{where}, {name}: no kind is given, such as x-portrait or dex: add it to the comparison")
    models = tuple(_there(path, place, name, True) for place in _list(told, path, f"{where}, {name}"))
    if not models or len(set(models)) < len(models):
        raise InputError(f"{where}, {name}: give a folder for each seed, every one once")
    return ManifestSystem(name, kind, models)


def _check_keys(content: object, where: str, known: set[str], needed: set[str]) -> None:
    if not isinstance(content, dict) or not needed <= content.keys():
        raise InputError(f"{where} must have {', '.join(sorted(needed))}: see mien evaluate ablations --help")
    for key in content:
        if key not in known:
            raise InputError(f"{where} has an entry {key!r}, which means nothing: it takes {', '.join(sorted(known))}")


def _mapping(content: object, path: Path, where: str) -> Mapping[Any, Any]:
    if not isinstance(content, dict):
        raise InputError(f"{path}: {where} must be names with what belongs to them, as NAME: FILE")
    return content


def _list(content: object, path: Path, where: str) -> list[Any]:
    if not isinstance(content, list):
        raise InputError(f"{path}: {where} must be a list, as [ONE, ANOTHER]")
    return content


def _there(path: Path, place: object, what: str, folder: bool) -> Path:
    found = path.parent / str(place)
    if not (found.is_dir() if folder else found.is_file()):
        raise InputError(f"{path}: {found}, of {what}, is no {'folder' if folder else 'file'}: correct the path")
    return found
