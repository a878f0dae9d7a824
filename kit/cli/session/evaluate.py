"""`speedrun session evaluate`: the tool of this name, as a command."""

from __future__ import annotations

from typing import Any

import click

from kit.cli.session.parts import call_tool, json_option, session_options


@click.command("evaluate")
@session_options
@click.option("--parent", type=click.IntRange(min=1), help="The evaluation that the script was made from.")
@json_option
def command(**options: Any) -> int:
    """Evaluate the workspace for real, and sign the result.

    A whole run in a container, audited, with a signed bundle in the session's directory `bundles`. It is
    charged by the host's clock, and refused if the budget cannot hold it.

    Exit 0: the result is valid. 1: it is not, or the budget does not hold the evaluation. 3: GPUs or data are
    missing. 130: interrupted.

    \b
    Examples:
      speedrun session evaluate my-session
      speedrun session evaluate my-session --parent 3
    """
    return call_tool("evaluate", {"parent": options["parent"]}, options)
