"""How good a cast is, `mien data look CAST`: who became an avatar, who did not and why, and how avatars answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import InputError
from mien.jobs.data.options import ReportOptions
from mien.jobs.run.progress import Progress

if TYPE_CHECKING:
    from mien.avatars.cast import Member

_SEED = 0  # of the members who are measured
_ANSWER = 0.4  # least rise of the detector's score that counts as an answer
_YAW_SLOPES = (0.9, 1.1)
ERROR_MEANING = (
    "median over a face of the distances between MediaPipe's mesh landmarks (of its 468, those that the head model has"
    " a place for) in the photograph and the same points of the fitted head model, % of the distance between the"
    " middles of the eyes; then the median over people"
)


@dataclass
class CastReport:
    """What `cast.json` holds.

    dropped: how many photographs by reason, with numbers replaced by dots. fit_error: `ERROR_MEANING`, with
    coefficients alone, over the cast. stored: answers measured when the avatars were made: jaw for 0.8, blink for 1,
    turn for 12 degrees. sample: see `mien.avatars.responses`, by member; error: after the displacement. unmeasured: why
    there is no sample, or members who failed.
    """

    avatars: int
    dropped: dict[str, int]
    fit_error: dict[str, float]
    stored: dict[str, dict[str, float]]
    sample: dict[str, dict[str, float]] = field(default_factory=dict)
    unmeasured: dict[str, str] = field(default_factory=dict)

    def content(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "portraits": self.avatars + sum(self.dropped.values()),
            "avatars": self.avatars,
            "left_out": sum(self.dropped.values()),
            "left_out_because": self.dropped,
            "error_means": ERROR_MEANING,
            "error_of_coefficients": self.fit_error,
            "answers_when_made": self.stored,
            "measured_again": self.summary(),
            "members": self.sample,
            "unmeasured": self.unmeasured,
        }

    def summary(self) -> dict[str, dict[str, float]]:
        """The sample in numbers; empty if there is none."""
        if not self.sample:
            return {}
        columns = {
            name: np.array([row[name] for row in self.sample.values()]) for name in next(iter(self.sample.values()))
        }
        table = {name: _spread(values) for name, values in columns.items()}
        low, high = _YAW_SLOPES
        table["yaw"]["share_within_0.1_of_1"] = _share((columns["yaw"] >= low) & (columns["yaw"] <= high))
        for name in ("jaw_rise", "blink"):
            table[name]["share_0.4"] = _share(columns[name] >= _ANSWER)
        return table

    def lines(self) -> list[str]:
        """A page, Markdown."""
        page = ["", "## Left out, by reason", "", "| photographs | reason |", "|---|---|"]
        page += [f"| {count} | {reason} |" for reason, count in self.dropped.items()]
        page += ["", "## Landmark error", "", f"Error: {ERROR_MEANING}.", ""]
        page.append(f"With coefficients alone: {_sentence(self.fit_error)} ({self.avatars} people).")
        page += ["", "## Commanded against re-read", ""]
        for name, what in (("jaw", "jawOpen 0.8"), ("blink", "eyeBlink 1"), ("turn", "yaw 12 degrees")):
            if name in self.stored:
                page.append(f"- {what}, everyone, when made: {_sentence(self.stored[name])}")
        table = self.summary()
        if table:
            page += ["", f"{len(self.sample)} people, drawn at random, rendered and read again:", ""]
            page += ["| | median | 5 % | 95 % | share |", "|---|---|---|---|---|"]
            for name, row in table.items():
                share = "".join(f"{100 * row[key]:.0f} % {_SHARES[key]}" for key in _SHARES if key in row)
                page.append(
                    f"| {_TITLES[name]} | {row['median']:.2f} | {row['p05']:.2f} | {row['p95']:.2f} | {share} |"
                )
        page += [f"- not measured: {name}: {reason}" for name, reason in self.unmeasured.items()]
        return page


_SHARES = {"share_0.4": "at least 0.4", "share_within_0.1_of_1": "0.9 to 1.1"}
_TITLES = {
    "yaw": "slope of yaw, within 20 degrees",
    "pitch": "slope of pitch, within 10",
    "roll": "slope of roll, within 10",
    "jaw": "slope of jawOpen",
    "jaw_rise": "rise of jawOpen, 0 to 1",
    "blink": "rise of eyeBlink, 0 to 1",
    "error": "landmark error after the displacement, %",
}


def report_cast(
    members: Sequence[Path], reasons: Mapping[str, str], options: ReportOptions, progress: Progress
) -> CastReport:
    """Read and measure a cast.

    Args:
        members: files of its avatars.
        reasons: why photographs were left out, by id.
        options: how many avatars are rendered and read again.
        progress: told how many are.

    Returns:
        What `mien data look` writes.
    """
    from mien.avatars.cast import load_details

    details = [load_details(path) for path in members]
    dropped = Counter(re.sub(r"\{[^}]*\}|-?\d+(\.\d+)?", "…", reason) for reason in reasons.values())
    report = CastReport(len(members), dict(dropped.most_common()), {}, {})
    if details:
        report.fit_error = _spread(np.array([entry["fit_error_median"] for entry in details]))
        for name in ("jaw", "blink", "turn"):
            answers = np.array([entry["responses"][name] for entry in details])
            report.stored[name] = _spread(answers)
            if name != "turn":
                report.stored[name]["share_0.4"] = _share(answers >= _ANSWER)
        _measure(members, options, report, progress)
    return report


def _measure(members: Sequence[Path], options: ReportOptions, report: CastReport, progress: Progress) -> None:
    from mien.avatars.cast import load_member
    from mien.avatars.detector import Detector
    from mien.avatars.head_model import load_head_model

    if options.responses == 0:
        return
    try:
        model = load_head_model(options.head)
    except InputError as error:
        report.unmeasured["everyone"] = str(error)
        return
    drawn = np.random.default_rng(_SEED).permutation(len(members))[: options.responses]
    progress.stage("Measuring", len(drawn))
    with Detector() as detector:
        for number, chosen in enumerate(sorted(drawn.tolist()), 1):
            member = load_member(members[chosen])
            try:
                report.sample[member.id] = _measured(model, detector, member)
            except InputError as error:
                report.unmeasured[member.id] = str(error)
            progress.update(number)


def _measured(model: Any, detector: Any, member: Member) -> dict[str, float]:
    from mien.avatars.responses import displaced_error, measure_responses

    answers = measure_responses(model, detector, member.avatar(model)).row()
    return {**answers, "error": round(displaced_error(model, member), 3)}


def _spread(values: np.ndarray) -> dict[str, float]:
    low, middle, high = np.percentile(values, [5, 50, 95])
    return {"median": round(float(middle), 3), "p05": round(float(low), 3), "p95": round(float(high), 3)}


def _share(true: np.ndarray) -> float:
    return round(float(true.mean()), 3)


def _sentence(row: Mapping[str, float]) -> str:
    share = f", {100 * row['share_0.4']:.0f} % at least 0.4" if "share_0.4" in row else ""
    return f"median {row['median']:.2f}, from {row['p05']:.2f} (5 %) to {row['p95']:.2f} (95 %){share}"
