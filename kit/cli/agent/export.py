"""`speedrun agent export`: write a run as a trajectory."""

from __future__ import annotations

import json
from pathlib import Path

import click

from kit.agent.atif import trajectory_of
from kit.agent.otlp import trace_of
from kit.agent.recorded import read_run
from kit.cli.terminal import emit_json, say_path
from kit.core.files import write_atomic

FORMATS = {"atif": trajectory_of, "otlp-json": trace_of}


@click.command("export")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(tuple(FORMATS)),
    default="atif",
    show_default=True,
    help="atif: Harbor's ATIF v1.8, with all texts. otlp-json: one OpenTelemetry trace, without texts.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write.  [default: stdout]",
)
def command(folder: Path, form: str, out: Path | None) -> None:
    """Write a run as a trajectory that other tools read.

    The document is JSON: one trajectory for the run, and in it one for each node. Tokens and costs are the
    journal's; what the endpoint did not report is left null. An unfinished run is exported as far as it is.
    The record of each call is checked against its request; to check everything, use `agent verify`.

    \b
    Examples:
      speedrun agent export agent-runs/<id> --out trajectory.json
      speedrun agent export agent-runs/<id> --format otlp-json
    """
    document = FORMATS[form](read_run(folder))
    if out is None:
        emit_json(document)
        return
    write_atomic(out, json.dumps(document, indent=2, ensure_ascii=True).encode() + b"\n")
    say_path(out)
