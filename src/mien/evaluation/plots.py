"""Plots as inline SVG: one dot for each clip and system, and lines over the frames of a clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

COLOURS = ("#1f6fb4", "#d1495b", "#2e8b57", "#e08e0b", "#7b5ea7", "#17888f", "#8c564b", "#6b7280")
_LEFT, _TOP, _BOTTOM = 52, 22, 30


def colour(number: int) -> str:
    """The colour of the n-th system."""
    return COLOURS[number % len(COLOURS)]


def dot_plot(title: str, clips: Sequence[str], values: Mapping[str, Sequence[float | None]], width: int = 460) -> str:
    """Values of each system, clip by clip, as in `clips`; None leaves a gap. A line marks each system's mean."""
    height, plot = 190, 190 - _TOP - _BOTTOM
    low, high = _range([value for row in values.values() for value in row])
    step = (width - _LEFT - 8) / max(len(clips), 1)
    parts = [_frame(title, width, height, low, high)]
    for index, clip in enumerate(clips):
        x = _LEFT + (index + 0.5) * step
        if len(clips) <= 16:
            parts.append(f'<text class="tick" x="{x:.1f}" y="{height - 12}" text-anchor="middle">{index + 1}</text>')
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{_TOP + plot}"/>')
        for number, (name, row) in enumerate(values.items()):
            value = row[index]
            if value is not None:
                side = x + (number - (len(values) - 1) / 2) * min(step / (len(values) + 1), 7)
                y = _TOP + plot * (high - value) / (high - low)
                about = escape(f"{name}, {clip}: {value:.4g}")
                place = f'cx="{side:.1f}" cy="{y:.1f}" r="3" fill="{colour(number)}"'
                parts.append(f"<circle {place}><title>{about}</title></circle>")
    for number, row in enumerate(values.values()):
        known = [value for value in row if value is not None]
        if known:
            y = _TOP + plot * (high - sum(known) / len(known)) / (high - low)
            parts.append(
                f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{width - 8}" y2="{y:.1f}" stroke="{colour(number)}"'
                ' stroke-dasharray="4 3" opacity="0.6"/>'
            )
    return _svg(width, height, parts)


def line_plot(title: str, lines: Mapping[str, Sequence[float | None]], width: int = 300) -> str:
    """Values over frames, a line for each system; None breaks it."""
    height, plot = 120, 120 - _TOP - _BOTTOM
    low, high = _range([value for row in lines.values() for value in row])
    count = max((len(row) for row in lines.values()), default=1)
    step = (width - _LEFT - 8) / max(count - 1, 1)
    parts = [_frame(title, width, height, low, high)]
    parts.append(f'<text class="tick" x="{_LEFT}" y="{height - 12}">frame 0</text>')
    parts.append(f'<text class="tick" x="{width - 8}" y="{height - 12}" text-anchor="end">{count - 1}</text>')
    for number, row in enumerate(lines.values()):
        path, pen = [], "M"
        for index, value in enumerate(row):
            if value is None:
                pen = "M"
                continue
            path.append(f"{pen}{_LEFT + index * step:.1f},{_TOP + plot * (high - value) / (high - low):.1f}")
            pen = "L"
        parts.append(f'<path d="{"".join(path)}" fill="none" stroke="{colour(number)}" stroke-width="1.4"/>')
    return _svg(width, height, parts)


def legend(names: Sequence[str]) -> str:
    """Names with their colours, as HTML."""
    dots = (
        f'<span class="key"><i style="background:{colour(number)}"></i>{escape(name)}</span>'
        for number, name in enumerate(names)
    )
    return f'<p class="legend">{"".join(dots)}</p>'


def _range(values: Sequence[float | None]) -> tuple[float, float]:
    known = [value for value in values if value is not None]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    if low >= 0 and low < 0.5 * high:
        low = 0.0
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return (0.0 if low == 0 else low - margin), high + margin


def _frame(title: str, width: int, height: int, low: float, high: float) -> str:
    bottom = height - _BOTTOM
    return (
        f'<text class="head" x="{_LEFT}" y="14">{escape(title)}</text>'
        f'<text class="tick" x="{_LEFT - 5}" y="{_TOP + 8}" text-anchor="end">{high:.3g}</text>'
        f'<text class="tick" x="{_LEFT - 5}" y="{bottom}" text-anchor="end">{low:.3g}</text>'
        f'<path class="axis" d="M{_LEFT},{_TOP}V{bottom}H{width - 8}"/>'
    )


def _svg(width: int, height: int, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">{"".join(parts)}</svg>'
