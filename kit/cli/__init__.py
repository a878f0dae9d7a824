"""
The command `speedrun`: flags in, one library call, render out. Decides nothing about runs itself.

This package is the only place that prints, exits and reads the environment. stdout is for machines,
stderr for people; exit codes are those of `EXIT_CODES`. Commands are loaded when they are used.
"""

from __future__ import annotations

import errno
import io
import sys
from typing import Any

import click

from kit import __version__
from kit.cli.lazy import LazyGroup
from kit.cli.stderr import STDERR
from kit.cli.terminal import complain, note
from kit.core.errors import IntegrityError, KitError, PrerequisiteError, RunError, UsageError

EXIT_CODES: tuple[tuple[type[KitError], int], ...] = (
    (UsageError, 2),
    (PrerequisiteError, 3),
    (IntegrityError, 4),
    (RunError, 5),
)
"""First match wins. 0 is yes, 1 is done and the answer is no, 130 is interrupted."""

SUMMARIES = {
    "bundle": "Verify signed results and read them.",
    "data": "Fetch, verify and lock the data of the records.",
    "doctor": "Start a real guest in every runtime, look from its inside, and say what is missing.",
    "eval": "Run a submission in its pinned image, audit it, and sign the result.",
    "hint": "Show and check the hints of the 19 tasks.",
    "image": "Pin, fetch, build, verify and load images: the same lock gives the same bytes on any machine.",
    "keys": "Make a signing key and choose whose results to trust.",
    "log": "Read the logs of runs: validation points, environment, embedded source.",
    "pack": "Pack a run as a capsule: bundle, submission, image, lock, key and RUN.md in one tar.",
    "record": "Show the 21 upstream records and fetch their scripts.",
    "report": "Check every submission below FOLDER/submissions and write SITE/index.html; offline.",
    "reproduce": "Run somebody's result again and sign what came of it.",
    "score": "Score signed bundles, or a table of runs.",
    "series": "Verify a series and show what it comes to.",
    "submit": "Submit results, and check submissions.",
    "task": "Show the 19 tasks and export them as folders for an agent.",
    "unpack": (
        "Unpack a capsule, compare every byte with its manifests, and verify the bundle in it; offline."
    ),
}


@click.group(
    cls=LazyGroup,
    package=__name__,
    summaries=SUMMARIES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
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
        complain(e.headline, e.hint, e.details)
        return next((code for kind, code in EXIT_CODES if isinstance(e, kind)), 5)
    except click.ClickException as e:
        _show(e)
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
    finally:
        STDERR.close()
    return code if isinstance(code, int) else 0


def _show(e: click.ClickException) -> None:
    """Show what click says, as click does; it may quote an argument."""
    if isinstance(e, click.exceptions.NoArgsIsHelpError):
        e.show()
        return
    context = e.ctx if isinstance(e, click.UsageError) else None
    if context is not None:
        note(*context.get_usage().splitlines(), f"Try '{context.command_path} --help' for help.", "")
    message = f"Error: {e.format_message()}"
    note(*(message.splitlines() if isinstance(e, click.MissingParameter) else (message,)))


def _what_to_do(e: OSError) -> str:
    match e.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "free space on its disk"
        case errno.EMFILE | errno.ENFILE:
            return "allow more open files: ulimit -n"
        case _:
            return "see: speedrun doctor"
