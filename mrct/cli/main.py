"""The command `mrct`: check a folder, run a published system, apply a model, sweep for leaks, rebuild MLflow runs."""

import json
import subprocess
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mrct.core.errors import MrctError
from mrct.core.params import load

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="MR-CT synthesis of the brain. The pipeline itself runs with `dvc repro`.",
)
for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, TextIOWrapper):  # a file name may hold bytes that no terminal shows
        stream.reconfigure(errors="backslashreplace")
console = Console()
errors = Console(stderr=True)


def _fail(error: Exception) -> typer.Exit:
    errors.print(f"[bold red]error:[/] {error}", highlight=False, soft_wrap=True)
    return typer.Exit(1)


@app.command()
def check(
    source: Annotated[Path, typer.Argument(help="folder of DICOM (any depth), or of volume files")],
) -> None:
    """Inspect a folder (dry run): its content, what would be rejected and why, expected pairs, disk space and time."""
    from mrct.cli.check import check as dry_run
    from mrct.cli.check import render
    from stages import select

    try:
        report = dry_run(source, load(select.Params, "select").rules())
    except (MrctError, OSError) as error:
        raise _fail(error) from None
    console.print(render(report))
    if report.problem:
        raise typer.Exit(1)


@app.command()
def synthesize(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN", help="a patient's DICOM (folder or multi-frame file), or a NIfTI/MHA file"
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="new folder for DICOM, or a .nii.gz/.mha file")],
    model: Annotated[Path, typer.Option(help="a trained direction")] = Path(
        "models/sc_cyclegan/mr_to_ct.safetensors"
    ),
    series: Annotated[
        int | None, typer.Option(metavar="N", help="the series to take, by its number in the list")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="take an input unlike those of the training; the result says so")
    ] = False,
) -> None:
    """Make a synthetic CT from an MR series (or a synthetic MR from a CT with --model .../ct_to_mr.safetensors)."""
    from mrct.cli.synthesis_view import render, shown_path
    from mrct.inference.model import load_model
    from mrct.inference.source import Request, WrongInputError
    from mrct.inference.synthesize import synthesize as apply

    try:
        done = apply(Request(source, series, force), out, load_model(model))
    except WrongInputError as error:
        if error.series:
            errors.print(render(error.series))
        raise _fail(error) from None
    except (MrctError, OSError) as error:
        raise _fail(error) from None
    if len(done.series) > 1:
        console.print(render(done.series))
    for text in done.departures:
        console.print(f"WARNING: forced: {text}", style="bold red", highlight=False, markup=False)
    for note in done.notes:
        console.print(f"note: {note}", highlight=False, markup=False)
    plural = "s" * (len(done.files) != 1)
    console.print(
        f"{len(done.files)} file{plural} written to {shown_path(out)}. Research use only.", markup=False
    )


@app.command()
def sweep(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="folders or files to search")],
    against: Annotated[
        Path,
        typer.Option(metavar="RAW", help="the source whose values must not be found: DICOM, volumes or CSV"),
    ],
    ignore: Annotated[
        list[Path] | None, typer.Option(metavar="PATH", help="leave out, with equal copies of its files")
    ] = None,
) -> None:
    """Search files, names and git history for the patients' own values. Exit code 1 if found; values are not shown."""
    from mrct.cli.sweep_view import render
    from mrct.leaks.project_sweep import sweep_project

    try:
        report = sweep_project(paths, against, ignore or [])
    except (MrctError, OSError) as error:
        _fail(error)
        raise typer.Exit(2) from None
    for part in render(report):
        console.print(part, highlight=False, markup=False)
    if report.hits:
        raise typer.Exit(1)


@app.command(context_settings={"ignore_unknown_options": True})
def preset(
    name: Annotated[str | None, typer.Argument(help="a published system; without a name: list all")] = None,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[DVC ARGUMENTS]...", help="for dvc exp run, as -S epochs=2")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="only show what changes in params.yaml")] = False,
) -> None:
    """Train and evaluate a published system with its own values, as a DVC experiment of that name."""
    from mrct.cli import presets
    from mrct.core.params import read

    try:
        if name is None:
            chosen = [presets.load_preset(each) for each in presets.names()]
            table = _table(("preset", "what"), [(p.name, p.title) for p in chosen])
            width = max(len(p.name) for p in chosen) + max(len(p.title) for p in chosen) + 2
            Console(width=max(width, console.width)).print(table)  # one line per row, in a pipe as well
            return
        preset = presets.load_preset(name)
        if show:
            rows = preset.differences(read())
            console.print(_table(("key", "params.yaml", name), [tuple(map(_shown, row)) for row in rows]))
            return
    except (MrctError, OSError) as error:
        raise _fail(error) from None
    command = [sys.executable, "-m", "dvc", *presets.dvc_command(preset, arguments or [])]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    table = Table(*header, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)


@app.command()
def track() -> None:
    """Rebuild all MLflow runs from models/ and reports/, also those whose results DVC took from its cache."""
    from mrct.core.errors import MrctError
    from mrct.tracking import record_all
    from stages import report

    try:
        reference = load(report.Params, "report").reference
        names = record_all(Path("models"), Path("reports"), reference)
    except (MrctError, OSError) as error:
        raise _fail(error) from None
    for name in names:
        console.print(f"MLflow has {name}")


if __name__ == "__main__":
    app()
