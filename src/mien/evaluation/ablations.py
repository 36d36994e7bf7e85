"""Ablations: systems that were trained several times, held against a baseline, and the paper's direction beside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.evaluation.published import PaperTable
from mien.evaluation.registry import METRICS
from mien.evaluation.runs import NOT_ASKED, ClipRecord, Run
from mien.evaluation.statistics import LEVEL, Figure, Verdict, difference, seed_figure, verdict
from mien.evaluation.tables import Column, Layout, head_text, line
from mien.media.files import readable_name, whole_file


@dataclass(frozen=True)
class TrainedSystem:
    """A system by the runs of its seeds, which stands in a table as one row (see `tables.Scored`).

    Attributes:
        name: as it is called in the paper, or by us.
        runs: one for each seed, all on the same benchmark.
    """

    name: str
    runs: tuple[Run, ...]

    @property
    def benchmark(self) -> Mapping[str, Any]:
        """See `tables.Scored`."""
        return self.runs[0].benchmark

    @cached_property
    def unavailable(self) -> dict[str, str]:
        """See `tables.Scored`."""
        return {key: why for run in self.runs for key, why in run.unavailable.items()}

    @cached_property
    def failed(self) -> dict[str, str]:
        """See `tables.Scored`."""
        several = len(self.runs) > 1
        return {
            f"{pair} of seed {number}" if several else pair: why
            for number, run in enumerate(self.runs)
            for pair, why in run.failed.items()
        }

    def of(self, protocol: str) -> Sequence[ClipRecord]:
        """See `tables.Scored`."""
        return self.runs[0].of(protocol)

    def figure(self, protocol: str, key: str) -> Figure:
        """One metric over the clips that every seed has a number for."""
        figures = [run.figure(protocol, key) for run in self.runs]
        values = [figure.value for figure in figures if figure.value is not None]
        if len(values) < len(figures):
            return next(figure for figure in figures if figure.value is None)
        if len(figures) == 1:
            return figures[0]
        table = self.values(protocol, key, self.clips(protocol, key))
        if METRICS[key].level == "set" or table.shape[1] < 2:
            return replace(figures[0], value=float(np.mean(values)), low=None, high=None, seeds=len(figures))
        return seed_figure(key, table, f"{protocol} {self.name}")

    def clips(self, protocol: str, key: str) -> list[str]:
        """The clips that have a number of this metric with every seed, in the benchmark's order."""
        numbers = [{clip.id for clip in run.of(protocol) if clip.values.get(key) is not None} for run in self.runs]
        return [clip.id for clip in self.of(protocol) if all(clip.id in known for known in numbers)]

    def values(self, protocol: str, key: str, clips: Sequence[str]) -> NDArray[np.float64]:
        """Numbers [seeds, clips]."""
        known = [{clip.id: clip.values.get(key) for clip in run.of(protocol)} for run in self.runs]
        return np.array([[run[clip] for clip in clips] for run in known], np.float64)


@dataclass(frozen=True)
class Direction:
    """What leaving something out, or adding it, did to one column: in the paper, and here.

    Attributes:
        system: what was changed.
        column: which figure.
        published: the paper's difference from its baseline; None where it prints none.
        measured: ours, with its interval.
        verdict: see `statistics.verdict`.
    """

    system: str
    column: Column
    published: float | None
    measured: Figure
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """Systems against a baseline, on one benchmark. layout: the columns, and the paper's figures."""

    name: str
    layout: Layout
    baseline: str
    systems: tuple[TrainedSystem, ...]
    directions: tuple[Direction, ...]

    @property
    def summary(self) -> str:
        """How many of the paper's differences were found again."""
        told = [one.verdict for one in self.directions if one.published is not None]
        counts = [f"{told.count(kind)} {kind}" for kind in ("agrees", "no difference", "differs", "unknown")]
        return f"{len(told)} differences that the paper prints: {', '.join(counts)}"


def compare(name: str, layout: Layout, systems: Sequence[TrainedSystem], baseline: str) -> Comparison:
    """Hold every system against the baseline, column by column."""
    ground = next(system for system in systems if system.name == baseline)
    found = [
        _direction(layout.paper, system, ground, column)
        for system in systems
        if system is not ground
        for column in layout.columns
    ]
    return Comparison(name, layout, baseline, tuple(systems), tuple(found))


def _direction(paper: PaperTable | None, system: TrainedSystem, ground: TrainedSystem, column: Column) -> Direction:
    cell = (column.protocol, column.key)
    published = None if paper is None else paper.difference(system.name, ground.name, cell)
    measured = measured_difference(system, ground, column)
    return Direction(system.name, column, published, measured, verdict(published, measured))


def measured_difference(system: TrainedSystem, ground: TrainedSystem, column: Column) -> Figure:
    """By how much a system's figure is above the baseline's, by the first of the column's metrics that both have."""
    reasons: list[Figure] = []
    for key in column.metrics:
        figures = [one.figure(column.protocol, key) for one in (system, ground)]
        lacking = [figure for figure in figures if figure.value is None]
        if lacking:
            reasons += lacking
            continue
        if METRICS[key].level == "set":
            return Figure(float(figures[0].value or 0) - float(figures[1].value or 0), "measured", key)
        known = set(ground.clips(column.protocol, key))
        clips = [clip for clip in system.clips(column.protocol, key) if clip in known]
        if not clips:
            reasons.append(Figure(None, "missing", key, why="no clip has a number of both"))
            continue
        tables = [one.values(column.protocol, key, clips) for one in (system, ground)]
        return difference(key, tables[0], tables[1], f"{column.protocol} {system.name} {ground.name}")
    return next((figure for figure in reasons if figure.why != NOT_ASKED), reasons[0])


def direction_cells(one: Direction) -> list[str]:
    """A direction as it is printed: system, figure, paper's difference, ours, verdict."""
    digits, measured = one.column.digits, one.measured
    paper = "not printed" if one.published is None else f"{one.published:+.{digits}f}"
    if measured.value is None:
        return [one.system, head_text(one.column), paper, f"not computed: {measured.why}", one.verdict]
    ours = f"{measured.value:+.{digits}f}"
    if measured.low is not None and measured.high is not None:
        ours += f" [{measured.low:+.{digits}f}, {measured.high:+.{digits}f}]"
    return [one.system, head_text(one.column), paper, ours, one.verdict]


HEADS = ("changed", "figure", "the paper: difference", "here: difference", "the paper's direction")


def direction_notes(comparison: Comparison) -> Iterator[str]:
    """What has to be known to read the directions."""
    seeds = {system.name: len(system.runs) for system in comparison.systems}
    yield (
        f"Differences from {comparison.baseline}, with {LEVEL:.0%} bootstrap intervals over clips and seeds: clips"
        " drawn for both systems together, seeds for each by itself. agrees: the interval lies on the paper's side of"
        " 0, or holds 0 where the paper prints none; no difference: it holds 0; differs: it lies on the other side;"
        " apart: the paper prints no figure, and the interval leaves 0 out."
    )
    yield f"Seeds: {', '.join(f'{name} {count}' for name, count in seeds.items())}."
    if min(seeds.values()) < 2:
        yield "Where there is one seed, the interval tells nothing of how another training would have come out."
    if comparison.layout.paper is not None:
        yield f"The paper's figures: {comparison.layout.paper.source}. Other data and other networks: compare signs."
    yield comparison.summary + "."


def to_markdown(comparison: Comparison) -> str:
    """The directions as Markdown."""
    lines = [f"# {comparison.layout.title}, on {comparison.name}", "", line(HEADS), line(["---"] * len(HEADS))]
    lines += [line(direction_cells(one)) for one in comparison.directions]
    return "\n".join([*lines, "", *(f"- {note}" for note in direction_notes(comparison))]) + "\n"


def write_directions(comparison: Comparison, folder: Path) -> list[Path]:
    """Write NAME-directions.md and .json into a folder; returns both."""
    content = {
        "table": comparison.layout.name,
        "benchmark": comparison.name,
        "baseline": comparison.baseline,
        "directions": [
            {
                "system": one.system,
                "protocol": one.column.protocol,
                "key": one.column.key,
                "published": one.published,
                "measured": asdict(one.measured),
                "verdict": one.verdict,
            }
            for one in comparison.directions
        ],
        "notes": list(direction_notes(comparison)),
    }
    texts = {"md": to_markdown(comparison), "json": json.dumps(content, indent=1, ensure_ascii=False) + "\n"}
    paths = []
    for suffix, text in texts.items():
        path = folder / f"{comparison.layout.name}-directions.{suffix}"
        with whole_file(path) as temporary:
            temporary.write_text(readable_name(text), encoding="utf-8")
        paths.append(path)
    return paths
