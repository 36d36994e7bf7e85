"""What `--dry-run` prints: what would run, and what it would cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.jobs.report import AnimateReport


def describe_plan(report: AnimateReport) -> str:
    """The plan of a dry run, a line each for input, model, sampling, cost and output.

    Args:
        report: of a dry run.

    Returns:
        Lines for people.
    """
    options = report.options
    width, height = report.size
    windows = f"windows of {options.window} frames that share {options.overlap}"
    lines = {
        "portrait": ", ".join(str(path) for path in options.portraits),
        "driver": f"{options.driver}, {report.frames} frames",
        "faces": f"read by {options.reader}",
        "model": f"{options.model} in {options.dtype} on {options.device}",
        "sampling": "one pass a frame",
        "output": f"{report.output}, {width} x {height}" + (", and a preview" if options.preview else ""),
    }
    if options.guidance is not None:
        lines["sampling"] = f"{options.steps} steps, guidance {options.guidance:g}, {windows}, seed {options.seed}"
    if report.cost is not None:
        cost = report.cost
        lines["work"] = f"{_scaled(cost.flops, 'FLOP')}, {_scaled(cost.flops / report.frames, 'FLOP')} a frame"
        made_of = ", ".join(f"{name} {size / 2**30:.1f}" for name, size in cost.parts.items())
        lines["memory"] = f"about {cost.bytes / 2**30:.1f} GiB ({made_of})"
        lines["memory"] += ", whatever the length" if cost.any_length else ""
        if cost.waiting:
            lines["memory"] += f", and {cost.waiting / 2**30:.1f} GiB of main memory for frames under way"
    return "\n".join(f"{name:9} {text}" for name, text in lines.items())


def _scaled(amount: float, unit: str) -> str:
    for prefix, size in (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9)):
        if amount >= size:
            return f"{amount / size:.3g} {prefix}{unit}"
    return f"{amount:.3g} {unit}"
