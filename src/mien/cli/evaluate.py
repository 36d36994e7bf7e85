"""`mien evaluate ...`: score systems, ours and others, and print the papers' tables beside what was measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.grouped import grouped
from mien.evaluation.build_options import BuildOptions, HeadBuildOptions

evaluate = typer.Typer(name="evaluate", no_args_is_help=True, help="Score systems by the papers' protocols.")
build = typer.Typer(name="build", no_args_is_help=True, help="Make a benchmark file: who drives whom.")
evaluate.add_typer(build)

Out = Annotated[Path, typer.Argument(help="The benchmark file to write, .json.")]
Weights = Annotated[list[Path] | None, typer.Option("--weights", help="A folder with networks that metrics need.")]
Checksum = Annotated[
    list[str] | None,
    typer.Option("--checksum", help="NAME=SHA256: use this file of a network in place of the published one."),
]
Predictions = Annotated[
    list[str] | None, typer.Option("--predictions", help="NAME=FOLDER with a video ID.mp4 for each pair.")
]


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
def run(
    benchmark: Annotated[Path, typer.Argument(help="A benchmark file of `mien evaluate build`.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder for results and the report.")],
    systems: Annotated[
        list[str] | None,
        typer.Option(
            "--system",
            help="[NAME=]KIND[:MODEL]; KIND is x-portrait, dex, face-vid2vid, face-vid2vid-plus, landmarks,"
            " copy-source, copy-driver or ground-truth.",
        ),
    ] = None,
    predictions: Predictions = None,
    weights: Weights = None,
    checksum: Checksum = None,
    metrics: Annotated[list[str] | None, typer.Option("--metric", help="Only these; all for none.")] = None,
    side: Annotated[int | None, typer.Option(help="Pixels a side, in place of the benchmark's.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps of our systems.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance of our systems.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of our systems.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    reader: Annotated[str, typer.Option(help="Who reads faces for our systems: auto or mesh.")] = "auto",
    reader_model: Annotated[Path | None, typer.Option(help="Its model file.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    ray: Annotated[str | None, typer.Option(help="Address of a Ray cluster, or local.")] = None,
) -> None:
    """Run systems, score every clip, and write tables and the report; goes on where it was stopped."""
    from mien.cli.progress import TerminalProgress
    from mien.evaluation.weights import parse_checksum
    from mien.jobs.evaluate import EvaluateOptions
    from mien.jobs.evaluate import evaluate as run_evaluation
    from mien.jobs.evaluation_systems import SystemSpec, parse_predictions, parse_system

    defaults = SystemSpec("", "", None, steps, guidance, seed, device, reader, reader_model)
    specs = [parse_system(text, defaults) for text in systems or []]
    specs += [parse_predictions(text) for text in predictions or []]
    options = EvaluateOptions(
        benchmark,
        output,
        tuple(specs),
        side,
        tuple(metrics or ()),
        tuple(weights or ()),
        tuple(parse_checksum(text) for text in checksum or ()),
        workers,
        ray,
    )
    with TerminalProgress(f"clips that were scored are in {output}; the same command goes on") as progress:
        done = run_evaluation(options, progress)
    for name, reason in sorted(done.outcome.failed.items()):
        typer.echo(f"{name}: {reason}", err=True)
    for name, reason in done.missing.items():
        typer.echo(f"{name} is not computed: {reason}", err=True)
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

    def table(
        runs: Annotated[list[Path] | None, typer.Argument(help="Folders that `mien evaluate run` wrote.")] = None,
        output: Annotated[
            Path | None, typer.Option("-o", "--output", help="A folder for the table, .md and .json.")
        ] = None,
        benchmark: Annotated[Path | None, typer.Option(help="For --predictions: the benchmark file.")] = None,
        predictions: Predictions = None,
        weights: Weights = None,
    ) -> None:
        from mien.cli.progress import TerminalProgress
        from mien.errors import InputError
        from mien.jobs.evaluate import EvaluateOptions
        from mien.jobs.evaluate import table as write
        from mien.jobs.evaluation_systems import parse_predictions

        scored = None
        if predictions:
            if benchmark is None or output is None:
                raise InputError("--predictions are scored first: give --benchmark FILE and --output FOLDER as well")
            specs = tuple(parse_predictions(text) for text in predictions)
            scored = EvaluateOptions(benchmark, output, specs, weights=tuple(weights or ()))
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
def metrics(weights: Weights = None, checksum: Checksum = None) -> None:
    """List the metrics: what each measures, its source, and whether it can be measured here."""
    from mien.evaluation.registry import METRICS
    from mien.evaluation.scoring import ScoreOptions, unavailable
    from mien.evaluation.weights import parse_checksum

    given = tuple(parse_checksum(text) for text in checksum or ())
    lacking = unavailable(ScoreOptions(weights=tuple(weights or ()), checksums=given))
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
def ablations(
    manifest: Annotated[
        Path,
        typer.Argument(
            help="A YAML file: benchmarks, and for each of a paper's tables its systems, a folder for each seed; its"
            " form stands in the manual, under Evaluation."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder for runs, tables and the page.")],
    weights: Weights = None,
    checksum: Checksum = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise, the same for all.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Score trained models of several seeds, and write tables, the paper's direction beside ours, and one page."""
    from mien.cli.progress import TerminalProgress
    from mien.evaluation.weights import parse_checksum
    from mien.jobs.ablations import AblationOptions
    from mien.jobs.ablations import ablations as run_ablations

    checksums = tuple(parse_checksum(text) for text in checksum or ())
    options = AblationOptions(manifest, output, tuple(weights or ()), checksums, seed, device, workers)
    with TerminalProgress() as progress:
        done = run_ablations(options, progress)
    for name, reason in sorted(done.failed.items()):
        typer.echo(f"{name}: {reason}", err=True)
    for name, reason in done.missing.items():
        typer.echo(f"{name} is not computed: {reason}", err=True)
    typer.echo(done.written[-1])
