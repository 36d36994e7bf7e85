"""The papers' tables with ours beside them: what a paper prints is never mixed with what was measured here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from mien.errors import InputError
from mien.evaluation import published
from mien.evaluation.registry import IDENTITY, METRICS, QUALITY
from mien.evaluation.runs import NOT_ASKED
from mien.evaluation.statistics import LEVEL, Figure
from mien.media.files import readable_name, whole_file

ARROWS = {"higher": "↑", "lower": "↓", "one": "→1"}


@dataclass(frozen=True)
class Column:
    """key: as in `published`. metrics: which of ours stand in it, the first that was measured. digits: printed."""

    protocol: str
    key: str
    label: str
    metrics: tuple[str, ...]
    digits: int

    @property
    def direction(self) -> str:
        """Which way is better."""
        return METRICS[self.metrics[0]].direction


@dataclass(frozen=True)
class Layout:
    """A table of a paper, or one of our own. paper: its figures, None where there are none."""

    name: str
    title: str
    columns: tuple[Column, ...]
    paper: published.PaperTable | None = None

    @property
    def published(self) -> tuple[published.Published, ...]:
        """The paper's rows."""
        return () if self.paper is None else self.paper.rows


class Scored(Protocol):
    """What stands in a row: a run, or the runs of several seeds."""

    @property
    def name(self) -> str:
        """As it is called in the table."""

    @property
    def benchmark(self) -> Mapping[str, Any]:
        """Name, side and pairs of what it was scored on."""

    @property
    def unavailable(self) -> Mapping[str, str]:
        """Metrics that were not computed, and why."""

    @property
    def failed(self) -> Mapping[str, str]:
        """Pairs that have no scores, and why."""

    def of(self, protocol: str) -> Sequence[Any]:
        """The clips of a protocol."""

    def figure(self, protocol: str, key: str) -> Figure:
        """One metric over the clips of a protocol."""


@dataclass(frozen=True)
class Row:
    """origin: "published" or "measured here". details: what stands behind it, one line."""

    label: str
    origin: str
    details: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Table:
    """rows: published ones first."""

    layout: Layout
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def _column(protocol: str, key: str, digits: int | None = None) -> Column:
    special = {"identity": ("ID similarity", IDENTITY), "quality": ("image quality", QUALITY)}
    label, metrics = special.get(key, ("", (key,)))
    metric = METRICS[metrics[0]]
    return Column(protocol, key, label or metric.label, metrics, metric.digits if digits is None else digits)


_SELF1 = tuple(_column("self", key) for key in ("l1", "ssim", "lpips", "fid"))
_CROSS1 = tuple(_column("cross", key) for key in ("identity", "quality", "aed", "pose"))
_MOTION = ("identity", "aed", "apd")
_CROSS_DEX = tuple(_column("cross", key) for key in _MOTION)
_APART = tuple(_column("disentangled", key) for key in _MOTION)

LAYOUTS = {
    "table1": Layout("table1", "X-Portrait, Table 1: self and cross reenactment", _SELF1 + _CROSS1, published.TABLE1),
    "table2": Layout(
        "table2",
        "X-Portrait, Table 2: ablations, cross reenactment",
        tuple(_column("cross", key) for key in ("identity", "aed", "pose")),
        published.TABLE2,
    ),
    "dex-table1": Layout(
        "dex-table1",
        "DeX-Portrait, Table 1: self, cross and disentangled",
        tuple(_column("self", key) for key in ("psnr", "ssim", "lpips")) + _CROSS_DEX + _APART,
        published.DEX_TABLE1,
    ),
    "dex-table2": Layout(
        "dex-table2",
        "DeX-Portrait, Table 2: ablations, cross and disentangled",
        _CROSS_DEX + _APART,
        published.DEX_TABLE2,
    ),
}


def full_layout(protocol: str, runs: Sequence[Scored]) -> Layout:
    """Every metric of a protocol that one of the runs has a figure for."""
    keys = [key for key in METRICS if any(run.figure(protocol, key).value is not None for run in runs)]
    columns = tuple(Column(protocol, key, METRICS[key].label, (key,), METRICS[key].digits) for key in keys)
    return Layout(protocol, f"everything measured: {protocol}", columns)


def make_table(layout: Layout, runs: Sequence[Scored]) -> Table:
    """Published rows, then a row for each run. Raises InputError if two runs have the same name."""
    names = [run.name for run in runs]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two runs are called {name}: give one another name with --predictions NAME=FOLDER")
    rows = [_published_row(layout, entry) for entry in layout.published]
    rows += [Row(run.name, "measured here", _details(run, layout), _measured(run, layout)) for run in runs]
    return Table(layout, tuple(rows), tuple(_notes(layout, runs, rows)))


def _published_row(layout: Layout, entry: published.Published) -> Row:
    figures = []
    for column in layout.columns:
        cell = (column.protocol, column.key)
        if cell in entry.inapplicable:
            figures.append(Figure(None, "inapplicable", column.key, why="N/A in the paper"))
        elif cell in entry.values:
            figures.append(Figure(entry.values[cell], "published", column.key))
        else:
            figures.append(Figure(None, "unknown", column.key, why="not known to us"))
    return Row(entry.method, "published", str(layout.paper and layout.paper.source), tuple(figures))


def _measured(run: Scored, layout: Layout) -> tuple[Figure, ...]:
    figures = []
    for column in layout.columns:
        found = [run.figure(column.protocol, key) for key in column.metrics]
        lacking = next((figure for figure in found if figure.why != NOT_ASKED), found[0])
        figures.append(next((figure for figure in found if figure.value is not None), lacking))
    return tuple(figures)


def _details(run: Scored, layout: Layout) -> str:
    protocols = dict.fromkeys(column.protocol for column in layout.columns)
    counts = ", ".join(f"{len(run.of(protocol))} {protocol}" for protocol in protocols)
    return f"{run.benchmark['name']} at {run.benchmark['side']} px, clips: {counts}"


def _notes(layout: Layout, runs: Sequence[Scored], rows: Sequence[Row]) -> list[str]:
    notes = []
    if layout.paper is not None:
        notes.append(
            f"Published rows: {layout.paper.source}. Other data, other weights, other detectors: compare rankings and"
            " differences, not figures, with those measured here."
        )
    measured = [row for row in rows if row.origin != "published"]
    notes.append(
        f"Measured rows: mean over clips and seeds, in brackets the {LEVEL:.0%} bootstrap interval over clips, and over"
        " seeds where a row has several;"
        " distances over all clips (FID, FVD) have none."
    )
    absent: dict[str, list[str]] = {}
    for number, column in enumerate(layout.columns):
        figures = [row.figures[number] for row in measured]
        used = dict.fromkeys(figure.metric for figure in figures if figure.value is not None)
        where = f"{column.label} ({column.protocol})"
        if len(column.metrics) > 1 and used:
            named = " and ".join(f"{METRICS[key].label}, {METRICS[key].meaning}" for key in used)
            notes.append(f"{where}: measured here as {named}. The papers use another network.")
        for why in dict.fromkeys(figure.why for figure in figures if figure.kind == "missing"):
            absent.setdefault(why, []).append(where)
    if not layout.published:
        shown = {key for column in layout.columns for key in column.metrics}
        for key, why in {key: why for run in runs for key, why in run.unavailable.items()}.items():
            if key not in shown:
                absent.setdefault(why, []).append(METRICS[key].label)
    notes += [f"Not computed: {', '.join(where)}: {why}." for why, where in absent.items()]
    for run in runs:
        notes += [f"{run.name}, pair {pair} has no scores: {reason}" for pair, reason in run.failed.items()]
    return list(dict.fromkeys(notes))


def cell_text(figure: Figure, digits: int) -> str:
    """A figure as it is printed."""
    if figure.value is None:
        return {"inapplicable": "N/A", "unknown": "?", "missing": "not computed"}[figure.kind]
    text = f"{figure.value:.{digits}f}"
    if figure.low is None or figure.high is None:
        return text
    return f"{text} [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"


def head_text(column: Column) -> str:
    """The head of a column."""
    unit = METRICS[column.metrics[0]].unit
    return f"{column.protocol}: {column.label}{f' ({unit})' if unit else ''} {ARROWS[column.direction]}"


def to_markdown(table: Table) -> str:
    """The table as Markdown."""
    heads = ["origin", "method", *(head_text(column) for column in table.layout.columns)]
    lines = [f"# {table.layout.title}", "", line(heads), line(["---"] * len(heads))]
    for row in table.rows:
        cells = [cell_text(f, c.digits) for f, c in zip(row.figures, table.layout.columns, strict=True)]
        lines.append(line([row.origin, row.label, *cells]))
    details = dict.fromkeys(f"{row.label}: {row.details}." for row in table.rows if row.origin != "published")
    return "\n".join([*lines, "", *(f"- {note}" for note in (*table.notes, *details))]) + "\n"


def line(cells: Sequence[str]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def to_content(table: Table) -> dict[str, Any]:
    """The table for JSON: every figure with its kind, its real metric, its interval and why it has none."""
    columns = [
        {"protocol": c.protocol, "key": c.key, "label": c.label, "direction": c.direction} for c in table.layout.columns
    ]
    rows = [
        {"method": r.label, "origin": r.origin, "details": r.details, "figures": [asdict(f) for f in r.figures]}
        for r in table.rows
    ]
    name, title = table.layout.name, table.layout.title
    return {"table": name, "title": title, "columns": columns, "rows": rows, "notes": [*table.notes]}


def write_table(table: Table, folder: Path) -> list[Path]:
    """Write NAME.md and NAME.json into a folder; returns both."""
    texts = {
        "md": to_markdown(table),
        "json": json.dumps(to_content(table), indent=1, ensure_ascii=False) + "\n",
    }
    paths = []
    for suffix, text in texts.items():
        path = folder / f"{table.layout.name}.{suffix}"
        with whole_file(path) as temporary:
            temporary.write_text(readable_name(text), encoding="utf-8")
        paths.append(path)
    return paths
