"""The page of ablations: tables with intervals, the paper's direction beside ours, pictures, and how it was made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from mien.evaluation.ablations import HEADS, Comparison, direction_cells, direction_notes
from mien.evaluation.benchmark import PROTOCOLS
from mien.evaluation.manifest import Manifest
from mien.evaluation.page import STYLE, image_html, table_html
from mien.evaluation.registry import METRICS
from mien.evaluation.statistics import Verdict
from mien.evaluation.tables import Table
from mien.media.files import readable_name, whole_file

_COLOURS: dict[Verdict, str] = {
    "agrees": "#1d7a3a",
    "no difference": "#5b6675",
    "differs": "#b3261e",
    "apart": "#1f5fa8",
}
_COMMAND = "mien evaluate ablations MANIFEST -o OUT"


@dataclass(frozen=True)
class Part:
    """A paper's table on one benchmark.

    Attributes:
        comparison: its columns.
        table: what was measured, beside the paper's rows.
        others: all other figures, a comparison for each protocol.
    """

    comparison: Comparison
    table: Table
    others: tuple[Comparison, ...]


def write_ablation_page(path: Path, manifest: Manifest, parts: Sequence[Part]) -> Path:
    """Write the page. Returns the path."""
    lines = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{escape(manifest.title)}</title><style>{STYLE}</style></head><body>",
        f'<h1>{escape(manifest.title)}</h1><p class="quiet">Budget: {escape(manifest.budget)}</p>',
        *_summary(parts),
    ]
    for number, part in enumerate(parts):
        comparison = part.comparison
        lines += [
            f'<h2 id="part-{number}">{escape(comparison.layout.title)}, on {escape(comparison.name)}</h2>',
            *_directions(comparison),
            table_html(part.table),
            *_folded(part.others),
            *_figure(comparison),
        ]
    lines += ['<h2 id="made">How it was made</h2>', *_made(manifest, parts), "</body></html>\n"]
    with whole_file(path) as temporary:
        temporary.write_text(readable_name("\n".join(lines)), encoding="utf-8")
    return path


def _summary(parts: Sequence[Part]) -> Iterator[str]:
    yield "<ul>"
    for number, part in enumerate(parts):
        where = f"{part.comparison.layout.title}, on {part.comparison.name}"
        yield f'<li><a href="#part-{number}">{escape(where)}</a>: {escape(part.comparison.summary)}</li>'
    yield "</ul>"


def _directions(comparison: Comparison) -> Iterator[str]:
    heads = "".join(f"<th>{escape(text)}</th>" for text in HEADS)
    yield f"<div class='scroll'><table><thead><tr>{heads}</tr></thead><tbody>"
    for one in comparison.directions:
        *texts, told = direction_cells(one)
        cells = "".join(f"<td>{escape(text)}</td>" for text in texts)
        style = f'style="color:{_COLOURS.get(one.verdict, "#a3acb9")};font-weight:700"'
        yield f"<tr>{cells}<td {style}>{escape(told)}</td></tr>"
    notes = "".join(f"<li>{escape(note)}</li>" for note in direction_notes(comparison))
    yield f"</tbody></table></div><ul class='notes'>{notes}</ul>"


def _folded(comparisons: Sequence[Comparison]) -> Iterator[str]:
    for comparison in comparisons:
        yield f"<details><summary>All figures: {escape(comparison.layout.title)}</summary>"
        yield from _directions(comparison)
        yield "</details>"


def _figure(comparison: Comparison) -> Iterator[str]:
    """The clip in the middle and the worst one, as every system's first seed has them."""
    chosen = middle_and_worst(comparison)
    if chosen is None:
        return
    metric, clips = chosen
    for label, clip in clips.items():
        yield f"<h3>{label.capitalize()} clip by {escape(METRICS[metric].label)}: {escape(clip)}</h3>"
        first = comparison.systems[0].runs[0].folder
        yield f'<p class="label">portrait and driving video</p>{image_html(first / "looks" / f"{clip}-inputs.webp")}'
        for system in comparison.systems:
            picture = image_html(system.runs[0].folder / "looks" / f"{clip}-result.webp")
            yield f'<p class="label">{escape(system.name)}</p>{picture}'


def middle_and_worst(comparison: Comparison) -> tuple[str, dict[str, str]] | None:
    """A metric of the table, and two clips by it.

    Args:
        comparison: whose clips.

    Returns:
        The metric's key, and by its mean over all systems and seeds the clip in the "middle" and the "worst" one; None
        if no metric has a number for every system.
    """
    for column in (c for p in PROTOCOLS[::-1] for c in comparison.layout.columns if c.protocol == p):
        for key in column.metrics:
            if METRICS[key].level == "set":
                continue
            shared = [set(system.clips(column.protocol, key)) for system in comparison.systems]
            clips = [
                clip for clip in comparison.systems[0].clips(column.protocol, key) if all(clip in s for s in shared)
            ]
            if not clips:
                continue
            values = [system.values(column.protocol, key, clips).mean(0) for system in comparison.systems]
            means = np.mean(values, 0)
            order = np.argsort(means if METRICS[key].direction == "lower" else -means)  # the best first
            return key, {"middle": clips[order[len(order) // 2]], "worst": clips[order[-1]]}
    return None


def _made(manifest: Manifest, parts: Sequence[Part]) -> Iterator[str]:
    yield f"<p>One command, which goes on where it was stopped: <code>{_COMMAND}</code>, with this manifest:</p>"
    yield f"<pre>{escape(manifest.text)}</pre>"
    told: dict[str, Any] = {}
    for comparison in (part.comparison for part in parts):
        for system in comparison.systems:
            for run in system.runs:
                told[f"{run.name}, {comparison.name}"] = {
                    "system": run.system,
                    "benchmark": {key: value for key, value in run.benchmark.items() if key != "pairs"},
                    "clips scored": len(run.clips),
                    "failed": run.failed,
                    "metrics not computed": run.unavailable,
                    "networks of metrics": run.networks,
                    "versions": run.versions,
                }
    for name, content in told.items():
        text = json.dumps(content, indent=1, ensure_ascii=False)
        yield f"<details><summary>{escape(name)}</summary><pre>{escape(text)}</pre></details>"
