"""`mien benchmark` with the smallest model: every part is measured, and the table can be pasted."""

from __future__ import annotations

import re

import pytest

from mien.errors import InputError
from mien.jobs import benchmark as module
from mien.jobs.benchmark import benchmark
from mien.jobs.benchmark_options import BenchmarkOptions
from samples import DrawnFaceReader
from window_faces import DrawnPersonMask, window_pipeline


class AnywhereReader(DrawnFaceReader):
    """Sees the same face in every picture."""

    def read(self, image, hint=None):  # type: ignore[no-untyped-def]
        from samples import draw_face

        return super().read(draw_face(image.shape[1], image.shape[0]))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load_pipeline", lambda *_, **__: window_pipeline())
    monkeypatch.setattr("mien.animation.cutting.PersonMask", DrawnPersonMask)
    monkeypatch.setattr("mien.faces.load_face_reader", lambda *_, **__: AnywhereReader())


def test_every_part_is_measured_and_the_table_can_be_pasted(small: None) -> None:
    report = benchmark(BenchmarkOptions(frames=3, repeats=1, start=False, device="cpu"))
    rows = {name: value for name, value, _ in report.rows}
    assert list(rows) == ["loading", "face reader", "engine, clip", "engine, live", "whole pipeline", "memory"]
    for name in ("face reader", "engine, clip", "engine, live", "whole pipeline"):
        assert re.fullmatch(r"\d+\.\d a second \(\d+ ms each\)", rows[name]), rows[name]
    lines = report.markdown().splitlines()
    assert "backend torch" in lines[0] and lines[2].count("|") == 4
    assert len(lines) == 4 + len(report.rows) and all(line.count("|") == 4 for line in lines[4:])
    assert any("3 frames from file to file" in line for line in lines)


def test_a_start_that_fails_is_told(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    options = BenchmarkOptions(model="no such model", device="cpu")
    with pytest.raises(InputError, match="mien animate of one picture failed: mien: there is no model no such model"):
        module._still(options)


@pytest.mark.parametrize(
    ("wish", "sentence"),
    [({"frames": 0}, "--frames is 0"), ({"repeats": 0}, "--repeats is 0"), ({"device": "tpu"}, "--device is 'tpu'")],
)
def test_options_that_make_no_sense_are_told(wish: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        BenchmarkOptions(**wish)  # type: ignore[arg-type]
