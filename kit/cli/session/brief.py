"""`speedrun session brief`: the tool of this name, as a command."""

from __future__ import annotations

from typing import Any

import click

from kit.cli.session.parts import call_tool, json_option, session_options


@click.command("brief")
@session_options
@json_option
def command(**options: Any) -> int:
    """Print the task, its rules, and how the session works.

    Exit 0: done. 1: the session refused the call.

    \b
    Examples:
      speedrun session brief my-session
    """
    return call_tool("brief", {}, options)
