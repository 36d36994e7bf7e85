from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
import typer
import yaml

from mien.errors import InputError
from mien.jobs.options import AnimateOptions
from mien.jobs.run.job_table import column_names, read_jobs

OUT = Path("out")


def table(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_three_formats_say_the_same(tmp_path: Path) -> None:
    rows = [
        {"portrait": "a.png", "driver": "d.mp4", "steps": 4, "align": False, "fps": "30000/1001", "smooth": 0.5},
        {"portrait": "a.png;b.png", "driver": "d.png", "best-frame": 3, "output": "sub/x.webm"},
    ]
    names = sorted({name for row in rows for name in row})
    lines = [",".join(names)] + [",".join(str(row.get(name, "")) for name in names) for row in rows]
    tables = [
        table(tmp_path, "jobs.csv", "\ufeff" + "\r\n".join(lines) + "\n\n"),
        table(tmp_path, "jobs.json", json.dumps(rows)),
        table(tmp_path, "jobs.yaml", yaml.safe_dump(rows)),
    ]
    first, *others = [[job.options for job in read_jobs(path, OUT, {})] for path in tables]
    assert first == others[0] == others[1]
    assert first[0] == AnimateOptions(
        (tmp_path / "a.png",),
        tmp_path / "d.mp4",
        OUT / "a--d.mp4",
        steps=4,
        align=False,
        fps=Fraction(30000, 1001),
        smooth=0.5,
    )
    assert first[1].portraits == (tmp_path / "a.png", tmp_path / "b.png")
    assert (first[1].best_frame, first[1].output) == (3, OUT / "sub/x.webm")


def test_what_a_row_leaves_open_is_common_or_the_default(tmp_path: Path) -> None:
    path = table(tmp_path, "jobs.csv", "portrait,driver,steps\na.png,d.mp4,\nb.png,d.mp4,3\n")
    first, second = read_jobs(path, OUT, {"steps": "7", "seed": "2"})
    assert (first.options.steps, second.options.steps, second.options.seed) == (7, 3, 2)
    assert first.place.endswith("jobs.csv, row 1")


def test_names_of_outputs(tmp_path: Path) -> None:
    text = "portrait,driver,output\na.png,d.jpg,\na.png,/x/lib.safetensors#walk,\na.png,d.mov,name\n"
    jobs = read_jobs(table(tmp_path, "jobs.csv", text), OUT, {})
    assert [job.name(OUT) for job in jobs] == ["a--d.png", "a--walk.mp4", "name.mp4"]
    assert jobs[1].options.driver == Path("/x/lib.safetensors#walk")


def test_a_model_folder_lies_beside_the_table(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    text = "portrait,driver,model,output\na.png,d.mp4,tiny,x\na.png,d.mp4,nano,y\n"
    models = [job.options.model for job in read_jobs(table(tmp_path, "jobs.csv", text), OUT, {})]
    assert models == [str(tmp_path / "tiny"), "nano"]


def test_the_other_system(tmp_path: Path) -> None:
    text = "portrait,system,pose_from,expression_only,expression_from,pose_gain\na.png,dex,p.mp4,no,e.mp4,0.5\n"
    (job,) = read_jobs(table(tmp_path, "jobs.csv", text), OUT, {})
    assert job.options.model == "dex-nano"
    assert (job.options.pose_from, job.options.pose_gain) == (tmp_path / "p.mp4", 0.5)
    assert job.name(OUT) == "a--e.mp4"


BAD = {
    "unknown column": (
        "a.csv",
        "portrait,driver,stepz\na,b,4\n",
        "row 1: there is no column 'stepz'; there are portrait",
    ),
    "number": (
        "a.csv",
        "portrait,driver,steps\na,b,4\na,b,many\n",
        "row 2, column steps: 'many' is not a whole number",
    ),
    "fraction": ("a.json", '[{"portrait": "a", "driver": "b", "steps": 1.5}]', "1.5 is not a whole number"),
    "infinite": ("a.json", '[{"portrait": "a", "driver": "b", "steps": Infinity}]', "inf is not a whole number"),
    "rate": ("a.csv", "portrait,driver,fps\na,b,1e999999999\n", "column fps: '1e999999999' is not a rate"),
    "truth": ("a.csv", "portrait,driver,align\na,b,perhaps\n", "'perhaps' is not true or false"),
    "range": ("a.csv", "portrait,driver,steps\na,b,-4\n", "row 1: --steps is -4"),
    "range of a gain": ("a.csv", "portrait,driver,mouth_gain\na,b,nan\n", "row 1: --mouth-gain is nan"),
    "reader": ("a.csv", "portrait,driver,reader\na,b,eyes\n", "row 1: there is no face reader 'eyes': choose one of"),
    "reader that is gone": ("a.csv", "portrait,driver,reader\na,b,\na,b,nano\n", "row 2: .*'nano' is gone: give auto"),
    "other system": ("a.csv", "portrait,driver,pose_only\na,b,yes\n", "row 1: --pose-only needs"),
    "no portrait": ("a.csv", "driver\nb\n", "row 1 has no portrait"),
    "no driver": ("a.csv", "portrait\nb\n", "row 1 has no driver"),
    "nothing": ("a.csv", "", "is empty"),
    "header only": ("a.csv", "portrait,driver\n", "holds no jobs"),
    "cells": ("a.csv", "portrait,driver\na,b,c\n", "row 1 has 3 cells, but there are 2 columns"),
    "same column": ("a.csv", "portrait,portrait\na,b\n", "two columns called 'portrait'"),
    "quotation": ("a.csv", 'portrait,driver\n"a,b\n', "cannot be read as CSV"),
    "no list": ("a.json", '{"portrait": "a"}', "holds no list of jobs"),
    "no row": ("a.json", '[{"portrait": "a", "driver": "b"}, 3]', "row 2 is no job"),
    "no JSON": ("a.json", "[{", "cannot be read as JSON"),
    "deep": ("a.json", "[" * 100_000, "cannot be read as JSON"),
    "no YAML": ("a.yaml", "a: [", "cannot be read as YAML"),
    "code": ("a.yaml", "!!python/object/apply:os.system [ls]", "cannot be read as YAML"),
    "odd tag": ("a.yaml", "- !!bool x", "cannot be read as YAML"),
    "list": ("a.yaml", "- {portrait: a, driver: [b]}", "column driver: a list is not a word"),
    "portraits": ("a.yaml", "- {portrait: [3], driver: b}", "column portrait: give the name of a picture"),
    "zero": ("a.json", '[{"portrait": "a", "driver": "b\\u0000"}]', "zero character"),
    "outside": ("a.csv", "portrait,driver,output\na,b,../x.mp4\n", "no name inside the output folder"),
    "absolute": ("a.csv", "portrait,driver,output\na,b,/x.mp4\n", "no name inside the output folder"),
    "same output": ("a.csv", "portrait,driver\na.png,b\na.jpg,b\n", "row 2 and .*row 1 both write out/a--b.mp4"),
    "huge number": ("a.json", f'[{{"portrait": "a", "driver": "b", "seed": {"9" * 4000}}}]', "--seed is|not a whole"),
    "suffix": ("a.txt", "portrait", "ends in one of .csv"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_is_named(tmp_path: Path, name: str) -> None:
    file, text, sentence = BAD[name]
    with pytest.raises(InputError, match=sentence) as caught:
        read_jobs(table(tmp_path, file, text), OUT, {})
    assert file in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_aliases_that_would_fill_the_memory_do_not(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    text = "- portrait: p\n  driver: d\n  steps: *a29\n"
    path = table(tmp_path, "a.yaml", "- {" + ", ".join(lines) + "}\n" + text)
    with pytest.raises(InputError, match="no column 'a0'"):
        read_jobs(path, OUT, {})


def test_text_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("portrait,driver\nä,b\n".encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8"):
        read_jobs(tmp_path / "a.csv", OUT, {})


def test_every_option_of_the_command_is_a_column() -> None:
    from mien.cli.app import app

    words = {param.name for param in typer.main.get_command(app).commands["animate"].params}  # type: ignore[attr-defined]
    assert {"driver", "steps", "fps"} < words
    assert words - {"source", "dry_run", "help"} <= set(column_names())
