"""`speedrun session serve`: serve the tools of a session through MCP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kit.cli.interrupt import cancellable
from kit.cli.platforms import require_run_platform
from kit.cli.session.parts import machine_session, session_options
from kit.cli.terminal import note
from kit.core.errors import PrerequisiteError, UsageError
from kit.core.extras import install_command


@click.command("serve")
@session_options
@click.option("--stdio", is_flag=True, help="Serve one client on stdin and stdout.")
@click.option(
    "--socket",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Serve several clients on a Unix socket at this path.",
)
def command(**options: Any) -> int:
    """
    Serve the tools of a session through MCP.

    One process serves a session. With --stdio it ends when its client closes stdin; a run that goes on then
    is ended, and charged what it took. With --socket it serves until Ctrl-C; a run goes on if its client
    vanishes, and `history` shows its result. After kill -9 start it again: runs that were interrupted are
    charged at their worst case.

    Exit 0: the client or Ctrl-C ended it. 2: another process serves the session. 3: the extra `session` is
    missing.

    \b
    Examples:
      speedrun session serve my-session --stdio
      speedrun session serve my-session --socket /run/user/1000/my-session.sock
    """
    if options["stdio"] == (options["path"] is not None):
        raise UsageError("pass either --stdio or --socket PATH", "for one client: --stdio")
    require_run_platform("session serve")
    server = _server()
    with cancellable() as cancelled:
        ready = machine_session(options["folder"], options, cancelled)
        from kit.session.opening import open_session

        with open_session(options["folder"], ready.parts) as session:
            if options["path"] is None:
                server.serve_stdio(session, cancelled)
            else:
                line = f"serving {options['folder']} on {options['path']}; Ctrl-C ends it"
                server.serve_socket(session, options["path"], cancelled, lambda: note(line))
    return 0


def _server() -> Any:
    """Import the server. Raises `PrerequisiteError` without the extra `session`."""
    try:
        import kit.session.server
    except ModuleNotFoundError as e:
        if e.name is None or e.name.split(".")[0] not in ("mcp", "mcp_types", "anyio"):
            raise
        raise PrerequisiteError(f"{e.name} is not installed", install_command("session")) from e
    return kit.session.server
