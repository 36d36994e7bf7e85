"""Tables of jobs: CSV, JSON or YAML rows into the options of `mien animate`, every value checked before work begins."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import UnionType
from typing import Any, get_args

from mien.animation.driving import motion_of
from mien.errors import InputError
from mien.jobs.options import AnimateOptions, animate_options
from mien.jobs.run.outputs import pair_name
from mien.media.files import readable_file, unreadable
from mien.media.kind import kind_of
from mien.options import declarations, field_types, parse_rate

SUFFIXES = (".csv", ".json", ".yaml", ".yml")
_LARGEST = 64 << 20  # bytes of a table
_LONGEST = 60  # characters of a wrong value that are shown
_OWN: dict[str, type] = {"portrait": str, "driver": str, "output": str, "system": str}
_YES, _NO = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """One row: its place, such as "jobs.csv, row 3", and what it asks for, with `output` a file."""

    place: str
    options: AnimateOptions

    def name(self, out: Path) -> str:
        """The output's name.

        Args:
            out: the folder of the batch.

        Returns:
            Relative to it, with slashes.
        """
        return self.options.output.relative_to(out).as_posix()


def _option_types() -> dict[str, Any]:
    """Every option of `mien animate` that a row may set, with its type."""
    hints = field_types(AnimateOptions)
    return {name: hints[name] for name in declarations(AnimateOptions) if name != "dry_run"}


def column_names() -> list[str]:
    """The names that a table's columns may have."""
    return [*_OWN, *_option_types()]


def read_jobs(table: Path, out: Path, common: Row) -> list[Job]:
    """The jobs of a table; paths in it are relative to its folder.

    A row has `portrait` (several pictures of one person: a list, or in CSV separated by ;) and `driver`, and may have
    `output` (a name inside `out`), `system`, and any option of `mien animate`.

    Args:
        table: .csv, .json or .yaml.
        out: the folder for the results.
        common: columns for rows that do not set them.

    Returns:
        One job a row.

    Raises:
        InputError: names the row and the column for what cannot be used.
    """
    rows = _rows(table)
    if not rows:
        raise InputError(f"{table} holds no jobs: give rows with portrait and driver")
    return make_jobs([(f"{table}, row {number}", row) for number, row in enumerate(rows, 1)], table.parent, out, common)


def make_jobs(rows: Sequence[tuple[str, Row]], base: Path, out: Path, common: Row) -> list[Job]:
    """Jobs from rows.

    Args:
        rows: each with its place for messages.
        base: the folder that paths are relative to.
        out: the folder for the results.
        common: columns for rows that do not set them.

    Returns:
        One job a row.

    Raises:
        InputError: for what cannot be used, or if two write the same file.
    """
    jobs = [_job(place, row, base, out, common) for place, row in rows]
    seen: dict[Path, str] = {}
    for job in jobs:
        output = job.options.output
        if output in seen:
            raise InputError(f"{job.place} and {seen[output]} both write {output}: give one of them another output")
        seen[output] = job.place
    return jobs


def _rows(table: Path) -> list[Row]:
    """The raw rows. Raises InputError if the file cannot be read as what its suffix says."""
    if table.suffix.lower() not in SUFFIXES:
        raise InputError(f"{table} is no table of jobs: give a file that ends in one of {', '.join(SUFFIXES)}")
    readable_file(table, "table of jobs")
    try:
        if table.stat().st_size > _LARGEST:
            raise InputError(f"{table} is larger than {_LARGEST >> 20} MB: split it")
        text = table.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise unreadable(table, error) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{table} is not UTF-8 text: save it as UTF-8") from error
    return _csv_rows(table, text) if table.suffix.lower() == ".csv" else _listed_rows(table, text)


def _csv_rows(table: Path, text: str) -> list[Row]:
    try:
        lines = [line for line in csv.reader(io.StringIO(text), strict=True) if any(cell.strip() for cell in line)]
    except csv.Error as error:
        raise InputError(f"{table} cannot be read as CSV ({error}): check its quotation marks and commas") from error
    if not lines:
        return []
    header = [cell.strip() for cell in lines[0]]
    for name in header:
        if header.count(name) > 1:
            raise InputError(f"{table} has two columns called {_shown(name)}: keep one of them")
    rows: list[Row] = []
    for number, line in enumerate(lines[1:], 1):
        if len(line) > len(header):
            raise InputError(f"{table}, row {number} has {len(line)} cells, but there are {len(header)} columns")
        rows.append({name: cell.strip() for name, cell in zip(header, line, strict=False) if cell.strip()})
    return rows


def _listed_rows(table: Path, text: str) -> list[Row]:
    try:
        content = json.loads(text) if table.suffix.lower() == ".json" else _yaml(text)
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{table} cannot be read as {table.suffix[1:].upper()} ({reason[:200]}): fix it") from error
    if not isinstance(content, list):
        raise InputError(f"{table} holds no list of jobs: write one entry a job, each with portrait and driver")
    for number, row in enumerate(content, 1):
        if not isinstance(row, dict) or not all(isinstance(name, str) for name in row):
            raise InputError(f"{table}, row {number} is no job: write names and values, such as portrait and driver")
    return [{name: value for name, value in row.items() if value is not None} for row in content]


def _yaml(text: str) -> Any:
    """YAML's plain values. Raises ValueError."""
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        # a tag such as !!bool before something else makes PyYAML's constructors fall over
        raise ValueError(" ".join(str(error).split())) from error


def _job(place: str, row: Row, base: Path, out: Path, common: Row) -> Job:
    kinds, given = _option_types(), {}
    for name, value in {**common, **{name.replace("-", "_"): value for name, value in row.items()}}.items():
        if name not in _OWN and name not in kinds:
            raise InputError(f"{place}: there is no column {_shown(name)}; there are {', '.join(column_names())}")
        if isinstance(value, str) and "\0" in value:
            raise InputError(f"{place}, column {name}: there is a zero character in it")
        given[name] = _portraits(place, value) if name == "portrait" else value
    for name in ("portrait", "driver"):
        if name not in given and (name == "portrait" or not {"pose_from", "expression_from"} & set(given)):
            raise InputError(f"{place} has no {name}: name a file in the column {name}")
    own = {name: _converted(place, name, given[name], str) for name in ("driver", "output", "system") if name in given}
    values = {
        name: _converted(place, name, value, kinds[name], base) for name, value in given.items() if name not in _OWN
    }
    portraits = tuple(base / path for path in given["portrait"])
    driver = None if "driver" not in own else base / own["driver"]
    shown = driver or values.get("expression_from") or values.get("pose_from") or Path("portrait")
    output = _output(place, own.get("output"), portraits[0], shown, out)
    try:
        options = animate_options(system=own.get("system"), driver=driver, portraits=portraits, output=output, **values)
    except InputError as error:
        raise InputError(f"{place}: {error}") from error
    return Job(place, options)


def _portraits(place: str, value: Any) -> list[str]:
    names = [name.strip() for name in value.split(";")] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise InputError(f"{place}, column portrait: give the name of a picture, or a list of names")
    if any("\0" in name for name in names):
        raise InputError(f"{place}, column portrait: there is a zero character in it")
    return names


def _output(place: str, name: str | None, portrait: Path, driver: Path, out: Path) -> Path:
    suffix = ".png" if kind_of(driver) == "image" else ".mp4"
    if name is None:
        motion = motion_of(driver)
        of = Path(motion[1]).name if motion is not None and motion[1] else driver.stem
        return out / f"{pair_name(portrait.stem, of)}{suffix}"
    path = Path(name)
    if path.is_absolute() or ".." in path.parts or not path.name:
        raise InputError(f"{place}, column output: {_shown(name)} is no name inside the output folder")
    return out / (path if path.suffix else path.with_name(path.name + suffix))


def _converted(place: str, name: str, value: Any, kind: Any, base: Path = Path()) -> Any:
    """A cell as a value of `kind`, a type or a union of types. Raises InputError."""
    kinds = set(get_args(kind) if isinstance(kind, UnionType) else (kind,)) - {type(None)}
    try:
        if name == "model" and isinstance(value, str):
            return str(base / value) if (base / value).is_dir() else value
        if Path in kinds and isinstance(value, str) and value:
            return base / value
        if bool in kinds:
            return _truth(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return _number(value, kinds)
        if isinstance(value, str):
            return _number(value, kinds) if str not in kinds else _word(value, kinds)
    except (ValueError, OverflowError, OSError, InputError):
        pass
    wanted = " or ".join(sorted(_KINDS[one] for one in kinds))
    raise InputError(f"{place}, column {name}: {_shown(value)} is not {wanted}")


_KINDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    Path: "the name of a file",
    Fraction: "a rate",
}


def _truth(value: Any) -> bool:
    word = str(value).strip().lower() if isinstance(value, (bool, int, str)) else ""
    if word not in _YES | _NO:
        raise ValueError
    return word in _YES


def _number(value: int | float | str, kinds: set[Any]) -> Any:
    if Fraction in kinds:
        return parse_rate(str(value))
    if float in kinds:
        return float(value)
    if int in kinds and not (isinstance(value, float) and value != int(value)):
        return int(value)
    raise ValueError


def _word(value: str, kinds: set[Any]) -> int | str:
    """Where words and numbers are both allowed, what reads as a number is one."""
    if int in kinds:
        try:
            return int(value)
        except ValueError:
            return value
    return value


def _shown(value: Any) -> str:
    """A value for a message: short, on one line, and never a whole nest of lists."""
    if isinstance(value, (dict, list, tuple, set)):
        return f"a {type(value).__name__}"
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**18 else "a huge number"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
