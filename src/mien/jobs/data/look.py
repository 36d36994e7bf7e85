"""Looking at a dataset or a cast: contact sheets and a page of statistics, `mien data look`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.avatars.group_files import RenderedGroup, group_names, is_complete
from mien.errors import InputError
from mien.jobs.data.cast_report import report_cast
from mien.jobs.data.options import ReportOptions
from mien.jobs.run.progress import Progress
from mien.media import write_image
from mien.media.files import readable_name, whole_file

_CELL = 96  # pixels a side of a picture on a sheet
_COLUMNS = 14  # motions shown of a group, the continuous clips last
_ROWS = 30  # people on a sheet at most
_BARS = 40  # characters of the longest bar of a histogram


def look(options: ReportOptions, progress: Progress) -> list[Path]:
    """Write a sheet a group (or one of a cast) and statistics.md; of a cast cast.json as well, see `CastReport`.

    Args:
        options: the folder, and where to write.
        progress: told how many avatars of a cast have been measured.

    Returns:
        The files that were written.

    Raises:
        InputError: the folder holds neither groups nor avatars.
    """
    folder = options.folder
    out = options.output or folder / "look"
    groups = [name for name in group_names(folder) if is_complete(folder, name)]
    if groups:
        written = [_group_sheet(RenderedGroup(folder, name), out) for name in groups]
        lines = _group_statistics(folder, groups)
    elif any(folder.glob("*.safetensors")) or any(folder.glob("*.reason.json")):
        written = _cast_sheet(folder, out)
        lines, content = _cast_statistics(folder, options, progress)
        with whole_file(out / "cast.json") as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        written.append(out / "cast.json")
    else:
        raise InputError(
            f"{folder} holds neither groups of a dataset nor avatars: give a folder that `mien data` wrote"
        )
    with whole_file(out / "statistics.md") as temporary:
        temporary.write_text(readable_name("\n".join(lines)) + "\n", encoding="utf-8")
    return [*written, out / "statistics.md"]


def _group_sheet(group: RenderedGroup, out: Path) -> Path:
    """A row a person: the source, then motions spread over the group."""
    chosen = np.unique(np.linspace(0, group.motions - 1, _COLUMNS).round().astype(int))
    people = range(min(group.people, _ROWS))
    rows = [_row([group.sources[p], *(group.frames[p, m] for m in chosen)]) for p in people]
    return write_image(out / f"{group.name}.jpg", np.concatenate(rows))


def _row(pictures: Iterable[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    small = [cv2.resize(np.asarray(p), (_CELL, _CELL), interpolation=cv2.INTER_AREA) for p in pictures]
    return np.asarray(np.concatenate(small, 1), np.uint8)


def _group_statistics(folder: Path, groups: list[str]) -> list[str]:
    kinds: Counter[str] = Counter()
    poses, expressions, names, reasons, inside = [], [], [], [], []
    people = validation = frames = 0
    for name in groups:
        group = RenderedGroup(folder, name)
        people += len(group.summary["people"])
        validation += group.validation
        kinds.update(person["kind"] for person in group.summary["people"])
        reasons += [(entry["id"], entry["reason"]) for entry in group.summary["rejected"]]
        poses.append(group["pose"])
        expressions.append(group["expression"])
        names = [str(word) for word in group["expression_names"]]
        inside.append(group["visible_frames"].mean())
        frames += group.people * group.motions
    pose, expression = np.concatenate(poses), np.concatenate(expressions)
    lines = [
        "# Statistics",
        "",
        f"{len(groups)} groups ({validation} for validation), {people} people, {frames} frames.",
    ]
    lines.append("People: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) + ".")
    lines.append(f"All 68 landmarks lie in the picture in {100 * float(np.mean(inside)):.1f} % of the frames.")
    for column, word in enumerate(("Yaw", "Pitch", "Roll")):
        lines += _histogram(f"{word}, degrees", pose[:, column], np.arange(-45, 46, 5))
    lines += ["", "## Expressions", "", "| shape | mean | above 0.4 |", "|---|---|---|"]
    for column, word in enumerate(names[:53]):
        share = 100 * float((expression[:, column] > 0.4).mean())
        lines.append(f"| {word} | {expression[:, column].mean():.2f} | {share:.0f} % |")
    return lines + _left_out(reasons)


def _cast_sheet(folder: Path, out: Path) -> list[Path]:
    """The photographs of a cast, ten a row."""
    from mien.avatars.cast import load_member

    photos = [load_member(path).photo for path in sorted(folder.glob("*.safetensors"))[: 10 * _ROWS]]
    if not photos:
        return []
    photos += [np.zeros_like(photos[0])] * (-len(photos) % 10)
    rows = [_row(photos[start : start + 10]) for start in range(0, len(photos), 10)]
    return [write_image(out / "cast.jpg", np.concatenate(rows))]


def _cast_statistics(folder: Path, options: ReportOptions, progress: Progress) -> tuple[list[str], dict[str, Any]]:
    """The page and the content of cast.json."""
    from mien.avatars.cast import load_details

    members = sorted(folder.glob("*.safetensors"))
    reasons = {}
    for path in sorted(folder.glob("*.reason.json")):
        reasons[path.name.removesuffix(".reason.json")] = json.loads(path.read_text(encoding="utf-8"))["reason"]
    lines = ["# Statistics", "", f"{len(members)} avatars, {len(reasons)} photographs left out."]
    report = report_cast(members, reasons, options, progress)
    lines += report.lines()
    if members:
        details = [load_details(path) for path in members]
        errors = np.array([entry["fit_error_median"] for entry in details])
        lines += _histogram("Median landmark error, % of the eye distance", errors, np.arange(0, 4.1, 0.25))
        for name in ("jaw", "blink", "turn"):
            answers = np.array([entry["responses"][name] for entry in details])
            edges = np.arange(0, 20, 1) if name == "turn" else np.arange(0, 1.01, 0.1)
            lines += _histogram(f"The detector's answer to {name}", answers, edges)
    return lines + _left_out(list(reasons.items())), report.content()


def _histogram(title: str, values: NDArray[np.floating], edges: NDArray[np.number]) -> list[str]:
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
    seen = np.flatnonzero(counts)
    lines = [
        "",
        f"## {title}",
        "",
        f"median {np.median(values):.2f}, {values.min():.2f} to {values.max():.2f}",
        "",
        "```",
    ]
    for index in range(seen[0], seen[-1] + 1):
        bar = "#" * round(_BARS * counts[index] / counts.max())
        lines.append(f"{edges[index]:7.2f} {counts[index]:6d} {bar}")
    return [*lines, "```"]


def _left_out(reasons: list[tuple[str, str]]) -> list[str]:
    if not reasons:
        return ["", "Nobody was left out."]
    return ["", "## Left out", "", *(f"- {name}: {reason}" for name, reason in reasons)]
