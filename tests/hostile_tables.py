"""Tables of jobs and motion files in every kind of disorder."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from hostile_files import Make, mutated, named

CSV = b"portrait,driver,steps,output\np.png,d.mp4,1,x\nq.png,d.mp4,2,y\n"
JSON = json.dumps([{"portrait": ["p.png", "q.png"], "driver": "d.mp4", "steps": 1}, {"portrait": "p", "driver": "d"}])
YAML = b"- portrait: p.png\n  driver: d.mp4\n  steps: 1\n- {portrait: q.png, driver: d.mp4}\n"


def damaged_tables() -> dict[str, Make]:
    """Tables of jobs; what they name does not exist, so a table that can be read gives jobs that fail."""
    cases: dict[str, Make] = {}
    for suffix, content in ((".csv", CSV), (".json", JSON.encode()), (".yaml", YAML)):
        for how, seeds in (("cut", 5), ("flipped", 6), ("head", 4), ("zeroed", 3), ("shuffled", 3)):
            for seed in range(seeds):
                cases[f"{how} {seed} {suffix}"] = named(f"jobs{suffix}", mutated(content, how, seed))
        cases[f"empty {suffix}"] = named(f"jobs{suffix}", b"")
        cases[f"blank {suffix}"] = named(f"jobs{suffix}", b"\n \n\t\n")
        cases[f"junk behind {suffix}"] = named(f"jobs{suffix}", mutated(content, "junk behind", 1))
    texts = {
        "deep.json": "[" * 50_000,
        "deep.yaml": "[" * 3_000,
        "number.json": "[" + "9" * 10_000 + "]",
        "nan.json": '[{"portrait": "p", "driver": "d", "guidance": NaN}]',
        "infinite.json": '[{"portrait": "p", "driver": "d", "seed": -Infinity}]',
        "null.json": "null",
        "text.json": '"portrait"',
        "rows.json": "[[], {}, 3, null]",
        "names.yaml": "- {1: 2, null: 3}",
        "keys.yaml": "- {[a]: b}",
        "code.yaml": "- !!python/object/apply:os.system [touch hacked]",
        "tags.yaml": "- {portrait: !!bool x, driver: !!timestamp y}",
        "date.yaml": "- {portrait: p, driver: d, steps: 2024-01-01}",
        "aliases.yaml": "a: &a [x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(50)),
        "self.yaml": "&a [*a]",
        "control.csv": "portrait,driver\n\x00\x07,\x1b[31m\n",
        "quotes.csv": 'portrait,driver\n"a""b,"c\n',
        "wide.csv": ",".join(f"c{n}" for n in range(9999)) + "\n",
        "column.csv": "portrait,driver,\u202e\na,b,c\n",
        "escape.csv": "portrait,driver,output\np,d,../../../../etc/x.mp4\n",
        "root.csv": "portrait,driver,output\np,d,/etc/x.mp4\n",
        "long.csv": f"portrait,driver\n{'p' * 5000},{'d' * 5000}\n",
        "rate.csv": "portrait,driver,fps\np,d,1e999999999\n",
        "digits.csv": f"portrait,driver,seed\np,d,{'9' * 6000}\n",
    }
    return cases | {name: named(name, text.encode()) for name, text in texts.items()}


def templates() -> dict[str, Make]:
    """Safetensors that are no motion, or not all of one."""
    rng = np.random.default_rng(0)
    good = save(
        {
            "pose": rng.normal(size=(5, 6)).astype(np.float32),
            "expression": rng.normal(size=(5, 52)).astype(np.float32),
        },
        {"rate": "25"},
    )
    cases: dict[str, Make] = {}
    for how, seeds in (("cut", 6), ("flipped", 6), ("head", 6), ("zeroed", 3), ("shuffled", 2)):
        for seed in range(seeds):
            cases[f"{how} {seed}"] = named("m.safetensors", mutated(good, how, seed))

    def header(text: str, length: int | None = None) -> bytes:
        return struct.pack("<Q", len(text) if length is None else length) + text.encode() + bytes(64)

    tensor = '{"a": {"dtype": "%s", "shape": %s, "data_offsets": %s}}'
    contents = {
        "wrong keys": good,
        "nothing": b"",
        "no tensors": save({}),
        "numbers that are none": save({"pose": np.full((5, 6), np.nan, np.float32)}),
        "huge header": header("{}", 2**63 - 1),
        "negative header": header("{}", 2**64 - 1),
        "no JSON": header("{" * 40),
        "deep JSON": header("[" * 50_000),
        "unknown type": header(tensor % ("F1000", "[2]", "[0, 8]")),
        "huge shape": header(tensor % ("F32", "[4294967296, 4294967296]", "[0, 8]")),
        "negative shape": header(tensor % ("F32", "[-2]", "[0, 8]")),
        "offsets beyond": header(tensor % ("F32", "[2]", "[0, 99999999]")),
        "pickle": b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
        "text": b"Dear diary,\n" * 50,
    }
    cases |= {name: named("m.safetensors", content) for name, content in contents.items()}
    cases["a track"] = lambda place: Path(f"{named('m.safetensors', good)(place)}#walk")
    cases["a track of nothing"] = lambda place: place / "gone.safetensors#walk"
    return cases


def dex_templates(encoder: str, width: int) -> dict[str, Make]:
    """Templates of `mien motion`, whole ones and what nobody wrote with it."""
    rng = np.random.default_rng(1)
    plain = {
        "pose": rng.normal(0, 0.2, (5, 6)).astype(np.float32),
        "expression": rng.normal(0, 1, (5, width)).astype(np.float32),
    }
    about = {"format": "mien.dex-motion", "version": "1", "encoder": encoder, "rate": "25"}
    cases: dict[str, Make] = {}

    def add(name: str, tensors: dict[str, np.ndarray] = plain, **metadata: str) -> None:
        cases[name] = named("m.safetensors", save(tensors, {**about, **metadata}))

    for how, seeds in (("cut", 6), ("flipped", 6), ("head", 4), ("zeroed", 3), ("shuffled", 2)):
        for seed in range(seeds):
            cases[f"{how} {seed}"] = named("m.safetensors", mutated(save(plain, about), how, seed))
    for name in plain:
        for value in (np.nan, np.inf, 1e38, 60.0):
            broken = plain[name].copy()
            broken[2, 1] = value
            add(f"{value} in {name}", {**plain, name: broken})
        for shape in ((), (0,), (5,), (0, 6), (5, 0), (4, 6), (5, 5), (5, 6, 1), (5, 6000)):
            add(f"{name} of {shape}", {**plain, name: np.zeros(shape, np.float32)})
        for kind in (np.bool_, np.uint8, np.int64, np.float16, np.float64):
            add(f"{name} as {kind.__name__}", {**plain, name: plain[name].astype(kind)})
        add(f"no {name}", {other: codes for other, codes in plain.items() if other != name})
    for rate in ("0", "-25", "nan", "inf", "1/0", "1e999999999", "9" * 6000, "1/" + "9" * 30, "30000/1001", "", "a\nb"):
        add(f"rate {rate[:20]!r}", rate=rate)
    for version in ("2", "", "9" * 6000, "1.0"):
        add(f"version {version[:9]!r}", version=version)
    for other in ("", "x" * 6000, "a\nb", "\x1b[31m", "\u202e"):
        add(f"encoder {other[:9]!r}", encoder=other)
    return cases
