"""The report: one HTML page that needs nothing else: tables, plots, worst cases, sheets, clips, and how it was made.

Everything on it comes from run folders, and nothing depends on when it was written.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from mien.evaluation.benchmark import PROTOCOLS
from mien.evaluation.plots import colour, dot_plot, legend, line_plot
from mien.evaluation.registry import METRICS
from mien.evaluation.runs import ClipRecord, Run
from mien.evaluation.statistics import LEVEL, RESAMPLES, Figure
from mien.evaluation.tables import ARROWS, Column, Table, cell_text
from mien.media.files import readable_name, whole_file

_LINES = ("identity_arcface", "identity_sface", "identity_retail", "aed", "pose", "l1", "lpips", "gaze")
_WORST = ("l1", "lpips", "identity_arcface", "identity_sface", "identity_retail", "aed", "pose")
_WORST_CLIPS = 3

STYLE = """
:root{color-scheme:light}
body{font:15px/1.5 system-ui,sans-serif;color:#1c2430;background:#fff;margin:0 auto;max-width:1180px;padding:24px}
h1{font-size:26px;margin:0 0 4px}h2{font-size:20px;margin:40px 0 8px;border-bottom:2px solid #e3e7ee;padding-bottom:4px}
h3{font-size:16px;margin:26px 0 6px}p{margin:6px 0}.quiet{color:#5b6675}
nav a{margin-right:14px}a{color:#1f5fa8}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:13px;margin:8px 0}
th,td{padding:4px 9px;text-align:right;white-space:nowrap;border-bottom:1px solid #eceff4}
th{vertical-align:bottom;font-weight:600}th:first-child,td:first-child,td:nth-child(2),th:nth-child(2){text-align:left}
td small{color:#5b6675;display:block;font-size:11px}
tr.published td{color:#5b6675;background:#f8f9fb}tr.split td{border-top:2px solid #1c2430}
td.none{color:#a3acb9}td.best{font-weight:700}
.tag{font-size:11px;border:1px solid currentColor;border-radius:8px;padding:0 6px}
ul.notes{font-size:13px;color:#5b6675;padding-left:18px}
svg .tick{font-size:10px;fill:#5b6675}svg .head{font-size:12px;fill:#1c2430;font-weight:600}
svg .axis{stroke:#9aa5b4;fill:none}svg .grid{stroke:#eef1f5}
.plots{display:flex;flex-wrap:wrap;gap:8px 18px}.legend .key{margin-right:16px;font-size:13px}
.legend i{display:inline-block;width:10px;height:10px;border-radius:5px;margin-right:5px}
.strip{display:block;max-width:100%}.label{font-size:12px;color:#5b6675;margin:6px 0 1px}
.clips{display:flex;flex-wrap:wrap;gap:10px;margin:8px 0}figure{margin:0}figcaption{font-size:12px;color:#5b6675}
video{display:block;border-radius:4px;max-width:100%}pre{background:#f6f7f9;padding:12px;overflow-x:auto;font-size:12px}
"""


def write_page(path: Path, tables: Sequence[Table], runs: Sequence[Run]) -> Path:
    """Write the report. Returns the path."""
    title = "Mien evaluation"
    names = ", ".join(run.name for run in runs)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{title}</title><style>{STYLE}</style></head><body>",
        f'<h1>{title}</h1><p class="quiet">{escape(names)}</p>',
        '<nav><a href="#tables">Tables</a><a href="#plots">Clips in figures</a><a href="#worst">Worst cases</a>',
        '<a href="#clips">Clips</a><a href="#made">How it was made</a></nav>',
        '<h2 id="tables">Tables</h2>',
        *(table_html(table) for table in tables),
        '<h2 id="plots">Clips in figures</h2>',
        *_plots(runs),
        '<h2 id="worst">Worst cases</h2>',
        *_worst(runs),
        '<h2 id="clips">Clips</h2>',
        *_clips(runs),
        '<h2 id="made">How it was made</h2>',
        *_made(runs),
        "</body></html>\n",
    ]
    with whole_file(path) as temporary:
        temporary.write_text(readable_name("\n".join(parts)), encoding="utf-8")
    return path


def table_html(table: Table) -> str:
    """A table with its notes."""
    columns = table.layout.columns
    heads = "".join(f"<th>{_head(column)}</th>" for column in columns)
    lines, last = [], ""
    for row in table.rows:
        published = row.origin == "published"
        style = "published" if published else ("split" if last == "published" else "")
        best = [not published and _is_best(table, number, figure) for number, figure in enumerate(row.figures)]
        cells = "".join(_cell(f, c, b) for f, c, b in zip(row.figures, columns, best, strict=True))
        origin = f'<span class="tag">{escape(row.origin)}</span>'
        lines.append(f'<tr class="{style}"><td>{origin}</td><td>{escape(row.label)}</td>{cells}</tr>')
        last = row.origin
    notes = "".join(f"<li>{escape(note)}</li>" for note in table.notes)
    details = dict.fromkeys(f"{row.label}: {row.details}" for row in table.rows if row.origin != "published")
    notes += "".join(f"<li>{escape(text)}.</li>" for text in details)
    return (
        f"<h3>{escape(table.layout.title)}</h3><div class='scroll'><table><thead><tr><th>origin</th><th>method</th>"
        f"{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div><ul class='notes'>{notes}</ul>"
    )


def _head(column: Column) -> str:
    metric = METRICS[column.metrics[0]]
    unit = f" ({metric.unit})" if metric.unit else ""
    return f"{escape(column.protocol)}<br>{escape(column.label + unit)} {ARROWS[metric.direction]}"


def _cell(figure: Figure, column: Column, best: bool) -> str:
    if figure.value is None:
        return f'<td class="none" title="{escape(figure.why)}">{cell_text(figure, 0)}</td>'
    text, _, interval = cell_text(figure, column.digits).partition(" ")
    return f'<td class="{"best" if best else ""}">{text}<small>{interval}</small></td>'


def _is_best(table: Table, number: int, figure: Figure) -> bool:
    """Among what was measured here, by the same metric; only where there are at least two."""
    rivals = [row.figures[number] for row in table.rows if row.origin != "published"]
    known = [rival.value for rival in rivals if rival.value is not None and rival.metric == figure.metric]
    if figure.value is None or len(known) < 2:
        return False
    direction = table.layout.columns[number].direction
    if direction == "one":
        return abs(figure.value - 1) == min(abs(value - 1) for value in known)
    return figure.value == (max(known) if direction == "higher" else min(known))


def _plots(runs: Sequence[Run]) -> Iterator[str]:
    yield legend([run.name for run in runs])
    for protocol in PROTOCOLS:
        clips = _names(runs, protocol)
        if not clips:
            continue
        listed = ", ".join(f"{number} {name}" for number, name in enumerate(clips, 1))
        yield f'<h3>{protocol}</h3><p class="quiet">{escape(listed)}</p><div class="plots">'
        for key, metric in METRICS.items():
            values = {run.name: [_value(run, protocol, clip, key) for clip in clips] for run in runs}
            if any(value is not None for row in values.values() for value in row):
                unit = f" ({metric.unit})" if metric.unit else ""
                yield dot_plot(f"{metric.label}{unit} {ARROWS[metric.direction]}", clips, values)
        yield "</div>"


def _names(runs: Sequence[Run], protocol: str) -> list[str]:
    return list(dict.fromkeys(clip.id for run in runs for clip in run.of(protocol)))


def _record(run: Run, protocol: str, name: str) -> ClipRecord | None:
    return next((clip for clip in run.of(protocol) if clip.id == name), None)


def _value(run: Run, protocol: str, name: str, key: str) -> float | None:
    record = _record(run, protocol, name)
    return None if record is None else record.values.get(key)


def _worst(runs: Sequence[Run]) -> Iterator[str]:
    yield (
        f'<p class="quiet">Of every system, the {_WORST_CLIPS} clips that are worst by each metric; the pictures are'
        " the result of the first one.</p>"
    )
    for run in runs:
        lines = []
        for key in _WORST:
            metric = METRICS[key]
            scored = [(clip.values.get(key), clip) for clip in run.clips]
            known = sorted(
                ((value, clip.id) for value, clip in scored if value is not None), reverse=metric.direction == "lower"
            )
            if len(known) > _WORST_CLIPS:
                worst = ", ".join(
                    f'<a href="#clip-{escape(name)}">{escape(name)}</a> {value:.{metric.digits}f}'
                    for value, name in known[:_WORST_CLIPS]
                )
                picture = image_html(run.folder / "looks" / f"{known[0][1]}-result.webp")
                lines.append(f'<p class="label">{escape(metric.label)}: {worst}</p>{picture}')
        if lines:
            yield f"<h3>{escape(run.name)}</h3>{''.join(lines)}"


def _clips(runs: Sequence[Run]) -> Iterator[str]:
    for protocol in PROTOCOLS:
        for name in _names(runs, protocol):
            having = [(number, run) for number, run in enumerate(runs) if _record(run, protocol, name) is not None]
            yield f'<h3 id="clip-{escape(name)}">{protocol}: {escape(name)}</h3>'
            below = "the clip of the expression, or the ground truth"
            yield f'<p class="label">portrait and driving video (below: {below})</p>'
            yield image_html(having[0][1].folder / "looks" / f"{name}-inputs.webp")
            for number, run in having:
                yield f'<p class="label" style="color:{colour(number)}">{escape(run.name)}</p>'
                yield image_html(run.folder / "looks" / f"{name}-result.webp")
            yield '<div class="clips">'
            for _, run in having:
                yield f"{_video(run.folder / 'looks' / f'{name}.mp4', run.name)}"
            yield '</div><div class="plots">'
            for key in _LINES:
                lines = {run.name: _frames(run, protocol, name, key) for run in runs}
                if any(value is not None for row in lines.values() for value in row):
                    yield line_plot(f"{METRICS[key].label}, frame by frame", lines)
            yield "</div>"


def _frames(run: Run, protocol: str, name: str, key: str) -> list[float | None]:
    record = _record(run, protocol, name)
    return [] if record is None else record.frames.get(key, [])


def _made(runs: Sequence[Run]) -> Iterator[str]:
    yield (
        f"<p>Means are over clips. Intervals: {LEVEL:.0%} percentile bootstrap over clips, {RESAMPLES} resamples,"
        " seeded by the figure's name. Published figures are quoted and never used in a mean. In <i>self</i> the first"
        " frame is the reference and is not scored.</p>"
    )
    for run in runs:
        content: dict[str, Any] = {
            "system": run.system,
            "benchmark": {key: value for key, value in run.benchmark.items() if key != "pairs"},
            "pairs": len(run.benchmark["pairs"]),
            "clips scored": len(run.clips),
            "failed": run.failed,
            "not applicable": list(run.inapplicable),
            "metrics not computed": run.unavailable,
            "networks of metrics": run.networks,
            "versions": run.versions,
        }
        yield f"<h3>{escape(run.name)}</h3><pre>{escape(json.dumps(content, indent=1, ensure_ascii=False))}</pre>"
    rows = "".join(
        f"<tr><td>{escape(m.label)}</td><td>{escape(m.meaning)}</td><td style='text-align:left'>{escape(m.source)}</td>"
        f"<td>{_bound(m.range[0], '-∞')} to {_bound(m.range[1], '∞')} {escape(m.unit)}</td>"
        f"<td>{ARROWS[m.direction]}</td><td>{m.against.replace('_', ' ')}</td></tr>"
        for m in METRICS.values()
    )
    heads = "".join(f"<th>{text}</th>" for text in ("metric", "meaning", "source", "range", "better", "against"))
    body = f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    yield f"<h3>Metrics</h3><div class='scroll'>{body}</div>"


def _bound(value: float | None, unlimited: str) -> str:
    return unlimited if value is None else f"{value:g}"


def image_html(path: Path) -> str:
    """A picture inside the page; nothing where there is none."""
    return f'<img class="strip" alt="{escape(path.stem)}" src="{_data(path, "image/webp")}">' if path.is_file() else ""


def _video(path: Path, name: str) -> str:
    if not path.is_file():
        return ""
    source = _data(path, "video/mp4")
    return (
        f'<figure><video autoplay loop muted playsinline controls src="{source}"></video>'
        f"<figcaption>{escape(name)}</figcaption></figure>"
    )


def _data(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
