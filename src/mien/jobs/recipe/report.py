"""How a recipe stands, as a table on the terminal; and what it has cost, as one for the model card."""

from __future__ import annotations

from collections.abc import Sequence

from mien.jobs.recipe.definition import Step
from mien.jobs.recipe.ledger import TABLE, learned
from mien.jobs.recipe.project import DONE, GIVEN, Project, is_at_work
from mien.media.files import whole_file


def status_table(project: Project) -> str:
    """A line a step: its state, core-hours spent, budget, and what remains; and the sums.

    Args:
        project: a recipe in a folder.

    Returns:
        Lined-up text.
    """
    running = is_at_work(project.out)
    rows: list[tuple[str, ...]] = []
    sums = [0.0, 0.0, 0.0]
    for step in project.recipe.steps:
        state, spent, budget = project.state(step, running), project.spent(step), project.core_hours(step)
        left = 0.0 if state.word in (DONE, GIVEN) else max(0.0, (budget or 0.0) - spent)
        sums = [a + b for a, b in zip(sums, (spent, budget or 0.0, left), strict=True)]
        word = state.word + (f": {state.why}" if state.why else "")
        rows.append((step.name, word, _hours(spent), _hours(budget), _hours(left)))
    rows.append(("all", "", *(_hours(value) for value in sums)))
    return _lined_up([("step", "state", "core-hours", "of", "left"), *rows])


def ledger_table(project: Project, steps: Sequence[Step] | None = None) -> str:
    """What was made, with which seed and at what cost.

    Args:
        project: a recipe in a folder.
        steps: None: all.

    Returns:
        Markdown.
    """
    lines = ["| step | makes | seed | core-hours | of | ends with |", "|---|---|---|---|---|---|"]
    total, steps = 0.0, project.recipe.steps if steps is None else steps
    for step in steps:
        state, spent, budget = project.state(step), project.spent(step), project.core_hours(step)
        total += spent
        end = learned(project.output(step)) if state.word == DONE else state.word
        made = "from elsewhere" if state.word == GIVEN else _hours(spent)
        seed = "" if step.seed is None else str(step.seed)
        lines.append(f"| {step.name} | {step.about} | {seed} | {made} | {_hours(budget)} | {end} |")
    again = sum(project.ledger.core_hours(step.name) for step in steps) - total
    lines.append(f"| **all** | | | **{_hours(total)}** | | |")
    if again > 1e-6:
        lines.append(f"\n{_hours(again)} core-hours more went into what was made anew later.")
    return "\n".join(lines) + "\n"


def write_table(project: Project) -> None:
    """Write RUNS/ledger.md.

    Args:
        project: a recipe in a folder.
    """
    with whole_file(project.out / TABLE) as temporary:
        temporary.write_text(ledger_table(project), encoding="utf-8")


def _hours(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value >= 0.01 or value == 0 else f"{value:.4f}"


def _lined_up(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    shown = []
    for row in rows:
        cells = [c.ljust(w) if n < 2 else c.rjust(w) for n, (c, w) in enumerate(zip(row, widths, strict=True))]
        shown.append("  ".join(cells).rstrip())
    return "\n".join(shown)
