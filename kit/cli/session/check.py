"""`speedrun session check`: the tool of this name, as a command."""

from __future__ import annotations

from typing import Any

import click

from kit.cli.session.parts import call_tool, json_option, session_options


@click.command("check")
@session_options
@json_option
def command(**options: Any) -> int:
    """Check the workspace without running it.

    The workspace is the directory `workspace` of the session. Finds faults of files, syntax and imports, and
    what the audits of the source would find. Costs nothing.

    Exit 0: no fault. 1: faults were found, or refused.

    \b
    Examples:
      speedrun session check my-session
    """
    return call_tool("check", {}, options)
