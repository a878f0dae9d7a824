"""
The command `speedrun`: flags in, one library call, render out. Decides nothing about runs itself.

This package is the only place that prints, exits and reads the environment. stdout is for machines,
stderr for people; exit codes are those of `EXIT_CODES`. Commands are loaded when they are used.
"""

from __future__ import annotations

import errno
import importlib
import io
import sys
from typing import Any

import click

from kit import __version__
from kit.cli.terminal import complain
from kit.core.errors import IntegrityError, KitError, PrerequisiteError, RunError, UsageError

EXIT_CODES: tuple[tuple[type[KitError], int], ...] = (
    (UsageError, 2),
    (PrerequisiteError, 3),
    (IntegrityError, 4),
    (RunError, 5),
)
"""First match wins. 0 is yes, 1 is done and the answer is no, 130 is interrupted."""

COMMANDS = (
    "bundle", "data", "doctor", "eval", "hint", "image", "keys", "log", "pack", "record", "report",
    "reproduce", "score", "series", "submit", "task", "unpack",
)  # fmt: skip


class LazyGroup(click.Group):
    """Finds the command `name` in `kit.cli.<name>` as the attribute `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every command's name, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the one module that is needed."""
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = importlib.import_module(f"kit.cli.{cmd_name}").command
        return found


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="speedrun")
def speedrun() -> None:
    """
    Run, check and sign attempts at the NanoGPT speedrun records.

    \b
    Examples:
      speedrun eval --record 3 --profile smoke
      speedrun bundle verify runs/<run_id>/result.json
      speedrun doctor
    """


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit with the code of the project's table."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")  # a path is printed as the bytes that it is
    sys.exit(run(argv))


def run(argv: list[str] | None = None) -> int:
    """
    Run the command line and return its exit code; the one error boundary.

    Where nobody reads stdout any more, click ends the process with 1: an answer that was not given is no yes.
    """
    try:
        code: Any = speedrun.main(
            args=argv, prog_name="speedrun", standalone_mode=False, auto_envvar_prefix="SPEEDRUN"
        )
    except KitError as e:
        complain(e.message, e.hint)
        return next((code for kind, code in EXIT_CODES if isinstance(e, kind)), 5)
    except click.ClickException as e:
        e.show()
        return e.exit_code
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted")
        return 130
    except OSError as e:
        complain(f"{e.filename or 'this machine'}: {e.strerror or e}", _what_to_do(e))
        return 5
    except MemoryError:
        complain("out of memory", "free some, or use another machine")
        return 5
    return code if isinstance(code, int) else 0


def _what_to_do(e: OSError) -> str:
    match e.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "free space on its disk"
        case errno.EMFILE | errno.ENFILE:
            return "allow more open files: ulimit -n"
        case _:
            return "see: speedrun doctor"
