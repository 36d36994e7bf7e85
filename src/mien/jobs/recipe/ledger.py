"""What each step of a recipe has cost: RUNS/ledger.json, and a table of it for the model card, RUNS/ledger.md."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mien.errors import InputError
from mien.media.files import json_bytes, whole_file

FILE, TABLE = "ledger.json", "ledger.md"


@dataclass
class Attempt:
    """One go at a step.

    Attributes:
        digest: of what was to be made, see `Step.digest`.
        began: date and time.
        seconds, core_seconds: how long it took, and how much processor time.
        end: running, done, interrupted, or failed.
    """

    digest: str
    began: str
    seconds: float = 0.0
    core_seconds: float = 0.0
    end: str = "running"


class Ledger:
    """All attempts by step, kept in RUNS/ledger.json, which is whole at any moment."""

    def __init__(self, runs: Path) -> None:
        """Read what there is. Raises InputError where that is damaged."""
        self._path = runs / FILE
        self.steps: dict[str, list[Attempt]] = {}
        if self._path.is_file():
            try:
                content = json.loads(self._path.read_text(encoding="utf-8"))["steps"]
                self.steps = {name: [Attempt(**one) for one in entry["attempts"]] for name, entry in content.items()}
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise InputError(
                    f"{self._path} is damaged ({error}): move it away; the steps stay done, their core-hours are lost."
                ) from error

    def begin(self, step: str, digest: str) -> Attempt:
        """A new attempt, which `save` keeps. Those that were running were cut off.

        Args:
            step: its name.
            digest: of what it is to make.

        Returns:
            The attempt.
        """
        for one in self.steps.get(step, []):
            one.end = "interrupted" if one.end == "running" else one.end
        made = Attempt(digest, time.strftime("%Y-%m-%d %H:%M:%S"))
        self.steps.setdefault(step, []).append(made)
        return made

    def core_hours(self, step: str, digest: str | None = None) -> float:
        """What a step has cost.

        Args:
            step: its name.
            digest: only attempts with that digest; None: all.

        Returns:
            Core-hours.
        """
        found = [one for one in self.steps.get(step, []) if digest in (None, one.digest)]
        return sum(one.core_seconds for one in found) / 3600

    def save(self) -> None:
        """Write it."""
        steps = {
            name: {"core_hours": round(self.core_hours(name), 4), "attempts": [asdict(one) for one in attempts]}
            for name, attempts in self.steps.items()
        }
        total = round(sum(self.core_hours(name) for name in self.steps), 4)
        with whole_file(self._path) as temporary:
            temporary.write_bytes(json_bytes({"core_hours": total, "steps": steps}, indent=1))


def learned(folder: Path) -> str:
    """How a training ended, for the table: its steps and its losses.

    Args:
        folder: of the run.

    Returns:
        Empty for what is no training.
    """
    try:
        told: Mapping[str, Any] = json.loads((folder / "export" / "training.json").read_text(encoding="utf-8"))
        losses = ", ".join(f"{name} {value:.4f}" for name, value in told.get("loss", {}).items())
        return f"{told['step']:,} steps" + (f"; {losses}" if losses else "")
    except (OSError, ValueError, KeyError, TypeError):
        return ""
