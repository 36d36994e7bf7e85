"""Writes what `benchmarks/results.sh` has measured into the tables of docs/results.md.

    python benchmarks/results_page.py OUT docs/results.md

Between `<!-- table heads/cross: l1 psnr -->` and `<!-- end -->` comes the table of OUT/heads/cross.json; of its columns
those with the metrics that are named, all for none. Measured figures with their 95 % intervals over clips. Between
`<!-- directions ablations/real-clips/ablations/table2 -->` and the end come those of `mien evaluate ablations`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from mien.evaluation.registry import METRICS
from mien.evaluation.statistics import Figure
from mien.evaluation.tables import ARROWS, cell_text

# how `mien evaluate ablations` calls a run of a comparison: the paper's table, the system, the seed
RUN = re.compile(r"(dex-)?table\d+ (.*) seed (\d+)")
PLACE = re.compile(r"(<!-- (?:table|directions) ([\w/-]+)(?:: ([\w ]+))? -->\n).*?(<!-- end -->)", re.DOTALL)


def markdown(table: dict[str, Any], wanted: list[str]) -> str:
    """The table's rows; where it has a paper's, they come first."""
    kept = [(n, c) for n, c in enumerate(table["columns"]) if not wanted or c["key"] in wanted]
    protocols = {column["protocol"] for _, column in kept}
    heads = ["origin", "method"]
    for _, column in kept:
        where = f"{column['protocol']}: " if len(protocols) > 1 else ""
        heads.append(f"{where}{column['label']} {ARROWS[column['direction']]}")
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in table["rows"]:
        cells = [cell(Figure(**row["figures"][n]), column["key"]) for n, column in kept]
        lines.append("| " + " | ".join([row["origin"], method(row["method"]), *cells]) + " |")
    return "\n".join(lines) + "\n"


def method(name: str) -> str:
    """What a row is called: of a comparison's run its system, and its seed but for the first."""
    found = RUN.fullmatch(name)
    if not found:
        return name
    seed = "" if found[3] == "0" else f", seed {found[3]}"
    return f"{'DeX' if found[1] else 'X'}-Portrait: {found[2]}{seed}"


def cell(figure: Figure, key: str) -> str:
    """A figure with as many digits as its metric has."""
    metric = METRICS.get(figure.metric or key)
    return cell_text(figure, 3 if metric is None else metric.digits)


def main() -> None:
    """Command line."""
    out, page = Path(sys.argv[1]), Path(sys.argv[2])

    def filled(found: re.Match[str]) -> str:
        if found[1].startswith("<!-- directions"):
            place = out / f"{found[2]}-directions.md"
            if not place.is_file():
                return found[0]
            lines = place.read_text(encoding="utf-8").splitlines()
            rows = [line for line in lines if line.startswith("|")]
            return "\n".join([found[1], *rows, "", found[4]])
        place = out / f"{found[2]}.json"
        if not place.is_file():  # measured apart: what the page has stays
            return found[0]
        table = json.loads(place.read_text(encoding="utf-8"))
        return found[1] + "\n" + markdown(table, (found[3] or "").split()) + "\n" + found[4]

    page.write_text(PLACE.sub(filled, page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
