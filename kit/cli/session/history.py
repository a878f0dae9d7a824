"""`speedrun session history`: the tool of this name, as a command."""

from __future__ import annotations

from typing import Any

import click

from kit.cli.session.parts import call_tool, json_option, session_options


@click.command("history")
@session_options
@click.option("--evaluation", type=click.IntRange(min=1), help="Show this evaluation.")
@click.option("--try", "trial", type=click.IntRange(min=1), help="Show this try, with the end of its log.")
@json_option
def command(**options: Any) -> int:
    """List all evaluations and tries, or show one.

    Exit 0: done. 1: the session refused the call. 3: there is no such evaluation or try.

    \b
    Examples:
      speedrun session history my-session
      speedrun session history my-session --evaluation 2
    """
    return call_tool("history", {name: options[name] for name in ("evaluation", "trial")}, options)
