"""`speedrun session budget`: the tool of this name, as a command."""

from __future__ import annotations

from typing import Any

import click

from kit.cli.session.parts import call_tool, json_option, session_options


@click.command("budget")
@session_options
@json_option
def command(**options: Any) -> int:
    """Show what was spent, and what is left.

    Exit 0: done. 1: the session refused the call.

    \b
    Examples:
      speedrun session budget my-session
      speedrun session budget my-session --json
    """
    return call_tool("budget", {}, options)
