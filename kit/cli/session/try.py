"""`speedrun session try`: the tool of this name, as a command."""

from __future__ import annotations

from typing import Any

import click

from kit.cli.session.parts import call_tool, json_option, session_options


@click.command("try")
@session_options
@click.option("--steps", type=click.IntRange(min=1), help="End at the first line of this step.")
@click.option("--seconds", type=click.FloatRange(min=1), help="End after this many seconds.  [default: 600]")
@click.option("--gpus", type=click.IntRange(min=1), help="Number of GPUs.  [default: the task's]")
@click.option("--lines", type=click.IntRange(1, 400), help="Lines of the log to print.  [default: 60]")
@json_option
def command(**options: Any) -> int:
    """Run the workspace up to a bound, without a score.

    The script runs in a container with the mounts and limits of an evaluation. Prints the end of its log and
    times by the host's clock. The try is charged by that clock, and refused if the budget cannot hold it.

    Exit 0: the script ran to its bound or its end. 1: it failed, or the budget does not hold the try. 3: GPUs
    or data are missing. 130: interrupted.

    \b
    Examples:
      speedrun session try my-session --steps 40
      speedrun session try my-session --seconds 120 --gpus 1
    """
    return call_tool("try", {name: options[name] for name in ("steps", "seconds", "gpus", "lines")}, options)
