"""`mien evaluate ...`: score systems, ours and others, and print the papers' tables beside what was measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from mien.cli.grouped import flags_of, grouped
from mien.evaluation.build_options import BuildOptions, HeadBuildOptions
from mien.jobs.evaluate_options import AblationOptions, EvaluateOptions, SystemSpec

evaluate = typer.Typer(name="evaluate", no_args_is_help=True, help="Score systems by the papers' protocols.")
build = typer.Typer(name="build", no_args_is_help=True, help="Make a benchmark file: who drives whom.")
evaluate.add_typer(build)

Out = Annotated[Path, typer.Argument(help="The benchmark file to write, .json.")]
if TYPE_CHECKING:
    OurFlags: TypeAlias = Any
    TableFlags: TypeAlias = Any
    NetworkFlags: TypeAlias = Any
else:
    OurFlags = flags_of(SystemSpec)
    TableFlags = flags_of(EvaluateOptions, "predictions", "weights")
    NetworkFlags = flags_of(EvaluateOptions, "weights", "checksums")


@build.command("real")
@grouped
def build_real(
    data: Annotated[Path, typer.Argument(help="A folder with real/index.json: portraits and driving videos.")],
    out: Out,
    options: BuildOptions,
) -> None:
    """From real portraits and driving videos that no weights were trained on."""
    from mien.jobs.evaluate import build as write

    typer.echo(write("real", data, out, options))


@build.command("heads")
@grouped
def build_heads(
    data: Annotated[Path, typer.Argument(help="A dataset of `mien data avatars`.")],
    out: Out,
    options: HeadBuildOptions,
) -> None:
    """From rendered people, where there is an exact ground truth in cross reenactment too."""
    from mien.jobs.evaluate import build as write

    typer.echo(write("heads", data, out, options, options.every_group))


@evaluate.command("run")
@grouped
def run(options: EvaluateOptions, ours: OurFlags) -> None:
    """Run systems, score every clip, and write tables and the report; goes on where it was stopped."""
    from mien.cli.progress import TerminalProgress
    from mien.jobs.evaluate import evaluate as run_evaluation

    systems = tuple(replace(spec, **vars(ours)) for spec in options.systems)
    with TerminalProgress(f"clips that were scored are in {options.out}; the same command goes on") as progress:
        done = run_evaluation(replace(options, systems=systems), progress)
    _tell(done.outcome.failed, done.missing)
    typer.echo(f"{done.outcome.summary('clips')}: {done.written[-1]}")


@evaluate.command("report")
def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders that `mien evaluate run` wrote.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder for tables and the report.")],
) -> None:
    """Put finished runs into one report: tables as .md and .json, and report.html."""
    from mien.jobs.evaluate import report as write

    for path in write(runs, output, None):
        typer.echo(path)


def _table_command(name: str) -> Callable[..., None]:
    """The command that writes one of the papers' tables."""

    @grouped
    def table(
        flags: TableFlags,
        runs: Annotated[list[Path] | None, typer.Argument(help="Folders that `mien evaluate run` wrote.")] = None,
        output: Annotated[
            Path | None, typer.Option("-o", "--output", help="A folder for the table, .md and .json.")
        ] = None,
        benchmark: Annotated[Path | None, typer.Option(help="For --predictions: the benchmark file.")] = None,
    ) -> None:
        from mien.cli.progress import TerminalProgress
        from mien.errors import InputError
        from mien.jobs.evaluate import table as write

        scored = None
        if flags.predictions:
            if benchmark is None or output is None:
                raise InputError("--predictions are scored first: give --benchmark FILE and --output FOLDER as well")
            scored = EvaluateOptions(benchmark, output, **vars(flags))
        with TerminalProgress() as progress:
            text, written = write(name, runs or [], output, scored, progress)
        typer.echo(text.rstrip())
        for path in written:
            typer.echo(path)

    return table


for _name, _what in {
    "table1": "X-Portrait, Table 1: self and cross reenactment, published and measured here.",
    "table2": "X-Portrait, Table 2: ablations in cross reenactment.",
    "dex-table1": "DeX-Portrait, Table 1: self, cross and disentangled.",
    "dex-table2": "DeX-Portrait, Table 2: ablations, cross and disentangled.",
}.items():
    evaluate.command(_name, help=_what)(_table_command(_name))


@evaluate.command("metrics")
@grouped
def metrics(flags: NetworkFlags) -> None:
    """List the metrics: what each measures, its source, and whether it can be measured here."""
    from mien.evaluation.registry import METRICS
    from mien.evaluation.scoring import ScoreOptions, unavailable

    lacking = unavailable(ScoreOptions(**vars(flags)))
    for key, metric in METRICS.items():
        low, high = ("" if bound is None else f"{bound:g}" for bound in metric.range)
        unit = f" {metric.unit}" if metric.unit else ""
        better = {"higher": "higher is better", "lower": "lower is better", "one": "1 is best"}[metric.direction]
        typer.echo(f"{key}: {metric.meaning}; {low or '-inf'} to {high or 'inf'}{unit}, {better}")
        typer.echo(f"    source: {metric.source}")
        typer.echo(f"    {'ready' if key not in lacking else 'not computed: ' + lacking[key]}")


@evaluate.command("weights")
def weights(
    folder: Annotated[Path, typer.Argument(help="Where to put them; give it as --weights later.")],
    only: Annotated[list[str] | None, typer.Option("--only", help="Only these, such as alexnet or sface.")] = None,
) -> None:
    """Download the networks that metrics need (about 400 MB for all)."""
    from mien.cli.progress import TerminalProgress
    from mien.jobs.evaluate import fetch_weights

    with TerminalProgress() as progress:
        for path in fetch_weights(folder, only or [], progress):
            typer.echo(path)


@evaluate.command("ablations")
@grouped
def ablations(options: AblationOptions) -> None:
    """Score trained models of several seeds, and write tables, the paper's direction beside ours, and one page."""
    from mien.cli.progress import TerminalProgress
    from mien.jobs.ablations import ablations as run_ablations

    with TerminalProgress() as progress:
        done = run_ablations(options, progress)
    _tell(done.failed, done.missing)
    typer.echo(done.written[-1])


def _tell(failed: dict[str, str], missing: dict[str, str]) -> None:
    """Say on stderr which clips have no scores, and which metrics were not computed, and why."""
    for name, reason in sorted(failed.items()):
        typer.echo(f"{name}: {reason}", err=True)
    for name, reason in missing.items():
        typer.echo(f"{name} is not computed: {reason}", err=True)
