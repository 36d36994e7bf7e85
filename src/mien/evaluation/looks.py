"""Small pictures of a clip for the report: strips of frames, and source, driving video and result side by side."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mien.evaluation.footage import Footage, Frames
from mien.media import VideoWriter
from mien.media.files import whole_file

COLUMNS = 8  # frames in a strip, after the portrait
_CELL = 96
_PANEL = 160
_QUALITY = 82
_CRF = 27


def write_looks(folder: Path, footage: Footage, result: Frames) -> None:
    """Write small pictures and a video of a clip.

    ID-inputs.webp: portrait and driving video; expression clip and ground truth below, where there are such.
    ID-result.webp: the result, the portrait's cell blank. ID.mp4: driving video, ground truth or expression clip if
    any, result.

    Args:
        folder: of the run.
        footage: of the clip.
        result: uint8 [n, s, s, 3].
    """
    case, folder = footage.case, folder / "looks"
    picks = np.linspace(footage.first, case.frames - 1, min(COLUMNS, case.frames - footage.first)).round().astype(int)
    rows = [_strip(case.source, case.driver[picks])]
    panels = [case.driver]
    if case.expression is not case.driver:
        rows.append(_strip(None, case.expression[picks]))
        panels.append(case.expression)
    elif footage.ground_truth is not None and footage.ground_truth is not case.driver:
        rows.append(_strip(None, footage.ground_truth[picks]))
        panels.append(footage.ground_truth)
    _save(folder / f"{case.id}-inputs.webp", np.concatenate(rows))
    _save(folder / f"{case.id}-result.webp", _strip(None, result[picks]))
    panels.append(result)
    size = (_PANEL * (len(panels) + 1), _PANEL)
    portrait = _small(case.source, _PANEL)
    with VideoWriter(folder / f"{case.id}.mp4", rate=case.rate, size=size, timestamps=False, quality=_CRF) as video:
        for index in range(footage.first, case.frames):
            video.write(np.concatenate([portrait, *(_small(panel[index], _PANEL) for panel in panels)], 1))


def has_looks(folder: Path, name: str) -> bool:
    """Whether they are all there; the video comes last."""
    return (folder / "looks" / f"{name}.mp4").is_file()


def _strip(first: Frames | None, frames: Frames) -> Frames:
    blank = np.full((_CELL, _CELL, 3), 255, np.uint8)
    cells = [blank if first is None else _small(first, _CELL), *(_small(frame, _CELL) for frame in frames)]
    return np.concatenate(cells, 1)


def _small(image: Frames, side: int) -> Frames:
    method = cv2.INTER_AREA if image.shape[0] > side else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (side, side), interpolation=method), np.uint8)


def _save(path: Path, image: Frames) -> None:
    with whole_file(path) as temporary:
        Image.fromarray(image).save(temporary, format="WEBP", quality=_QUALITY)
