"""
The command `speedrun`: parse options, call the library once, print the answer.

This package is the only place that prints, exits and reads the environment. stdout is for machines,
stderr for people; exit codes are those of `EXIT_CODES`. A command's module is imported when it is used.
"""

from __future__ import annotations

import kit.core.search_path  # noqa: F401 - before every other module

# isort: split
import contextlib
import errno
import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
from click.core import ParameterSource

from kit import __version__
from kit.cli.lazy import LazyGroup
from kit.cli.settings import Settings, read_settings
from kit.cli.stderr import STDERR
from kit.cli.streams import end_if_unread, flush_streams, prepare_streams
from kit.cli.terminal import JsonAnswers, complain, emit_json, note, warn
from kit.core.errors import (
    ALLOW,
    CHECK_PATH,
    IntegrityError,
    KitError,
    PrerequisiteError,
    RunError,
    UsageError,
)
from kit.core.text import one_line

EXIT_CODES: tuple[tuple[type[KitError], int], ...] = (
    (UsageError, 2),
    (PrerequisiteError, 3),
    (IntegrityError, 4),
    (RunError, 5),
)
"""The first match counts. 0: yes, 1: done and the answer is no, 130: interrupted."""

PATH_NOT_FOUND = 3
"""Code of click's errors about a path: the same as if the kit itself had not found it."""

SEE_DOCTOR = "see: speedrun doctor"
OPEN_FILES = "raise the limit on open files, for example: ulimit -n 4096"
FAILING_DISK = "check the disk: dmesg; then try again with files on another one"
HINTS = {
    errno.EACCES: ALLOW,
    errno.EPERM: ALLOW,
    errno.ENOSPC: "delete files to make room",
    errno.EDQUOT: "delete files to make room",
    errno.EIO: FAILING_DISK,
    errno.EAGAIN: "raise the limit on processes, for example: ulimit -u 4096",
    errno.EFBIG: "raise the limit on the size of files: ulimit -f unlimited",
    errno.EEXIST: CHECK_PATH,
    errno.EISDIR: CHECK_PATH,
    errno.ELOOP: CHECK_PATH,
    errno.EMFILE: OPEN_FILES,
    errno.ENAMETOOLONG: CHECK_PATH,
    errno.ENOTDIR: CHECK_PATH,
    errno.ENFILE: OPEN_FILES,
    errno.ESPIPE: CHECK_PATH,
}
"""What to do about an error of the system."""
SUMMARIES = {
    "agent": "Let a scaffold and a model search for a faster script.",
    "bundle": "Verify and show signed results.",
    "cache": "Show and clean the store of downloads, images and data; make compile caches.",
    "check": "Check a submission without running it.",
    "config": "Show the defaults from speedrun.toml and the environment.",
    "data": "Download, verify and lock the training data.",
    "distance": "Measure how far a script is from a task's target, in tokens.",
    "doctor": "Check that this machine can run evaluations.",
    "eval": "Run a submission in a container and sign the result.",
    "hint": "Show and check the hints for the tasks.",
    "image": "Lock, build, verify, load and push container images.",
    "judge": "Judge how much of a task's change a script contains.",
    "keys": "Manage your signing key and the keys you trust.",
    "log": "Parse and export training logs.",
    "pack": "Pack a run into one archive for an offline rerun.",
    "record": "List the upstream records and fetch their scripts.",
    "report": "Build a leaderboard page from entries.",
    "reproduce": "Rerun a signed result and compare the outcomes.",
    "rubric": "Show and check the rubrics that scripts are judged by.",
    "runs": "List, compare and read the runs in a directory.",
    "score": "Compute scores (FSR) from signed results or a table.",
    "series": "Verify a series of runs and show its statistics.",
    "session": "Give an agent of any kind tools for a task, under one budget.",
    "submit": "Prepare and check leaderboard entries.",
    "sweep": "Run the grid of the benchmark on this machine or on Slurm.",
    "task": "List the tasks and export them for an agent.",
    "unpack": "Unpack an archive made by `pack` and verify it.",
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
    Run, check and sign attempts to speed up NanoGPT training.

    \b
    Examples:
      speedrun eval --record 3 --profile smoke
      speedrun bundle verify runs/<run_id>/result.json
      speedrun doctor
    """


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit with a code of `EXIT_CODES`."""
    prepare_streams()
    try:
        code = run(argv)
    except SystemExit:  # raised by click if a write fails with EPIPE
        end_if_unread()
        raise
    flush_streams()
    sys.exit(code)


def run(argv: list[str] | None = None) -> int:
    """
    Run the command line and return its exit code. All exceptions are caught and printed here.

    If the reader of stdout has gone, click raises `SystemExit`: the answer was not delivered.
    """
    printed, JsonAnswers.requested = JsonAnswers.printed, False
    try:
        settings = _settings(sys.argv[1:] if argv is None else argv)
        if any(name.startswith("SPEEDRUN_") for name in os.environ):
            from kit.cli.variables import warnings

            for text in warnings(speedrun, sys.argv[1:] if argv is None else argv):
                warn(text)
        code: Any = speedrun.main(
            args=argv,
            prog_name="speedrun",
            standalone_mode=False,
            obj=settings,
            default_map=settings.default_map,
        )
    except (Exception, KeyboardInterrupt) as e:
        failure = _exit_code(e)
        why = _explain(e, sys.argv[1:] if argv is None else argv)
        with contextlib.suppress(OSError):  # stderr may be a full disk or a closed pipe
            _show(e, why)
        if JsonAnswers.printed == printed and _wants_json(sys.argv[1:] if argv is None else argv, e):
            emit_json({"error": {**why._asdict(), "exit_code": failure}})
        return failure
    finally:
        with contextlib.suppress(OSError):
            STDERR.close()
    return code if isinstance(code, int) else 0


def _settings(argv: list[str]) -> Settings:
    """Read the files of settings, unless only help, the version or a completion is requested."""
    if "_SPEEDRUN_COMPLETE" in os.environ or not argv or {"-h", "--help", "--version"}.intersection(argv):
        return Settings()
    return read_settings(speedrun)


def _exit_code(e: BaseException) -> int:
    match e:
        case click.MissingParameter():
            return e.exit_code
        case click.BadParameter(param=click.Parameter(type=click.Path())):
            return PATH_NOT_FOUND
        case click.ClickException():
            return e.exit_code
        case click.Abort() | KeyboardInterrupt():
            return 130
        case OSError() if e.filename and HINTS.get(e.errno or 0) in (ALLOW, CHECK_PATH):
            return PATH_NOT_FOUND
        case _:
            return next((code for kind, code in EXIT_CODES if isinstance(e, kind)), 5)


def _wants_json(argv: list[str], e: BaseException) -> bool:
    """Tell whether JSON was requested, also if a wrong option ended the command before it was read."""
    if isinstance(e, click.UsageError) and e.ctx is not None:
        options = [p for p in e.ctx.command.params if p.name == "as_json"]
        with contextlib.suppress(click.BadParameter):
            if any(p.type_cast_value(e.ctx, p.consume_value(e.ctx, {})[0]) for p in options):
                return True
    return JsonAnswers.requested or "--json" in itertools.takewhile(lambda argument: argument != "--", argv)


class Explanation(NamedTuple):
    """What failed and what to do next."""

    message: str
    hint: str = ""
    details: Sequence[str] = ()


def _explain(e: BaseException, argv: Sequence[str]) -> Explanation:
    match e:
        case KitError():
            return Explanation(e.headline, _elsewhere(e.hint, argv), e.details)
        case click.ClickException():
            return _explain_usage(e)
        case click.Abort() | KeyboardInterrupt():
            return Explanation("interrupted")
        case MemoryError():
            return Explanation("out of memory", "free memory, or use a machine with more")
        case FileNotFoundError() if not e.filename and not _has_working_directory():
            return Explanation(
                "the working directory no longer exists", "change to another directory, for example: cd /"
            )
        case OSError() if e.filename or e.errno in HINTS:
            hint = HINTS.get(e.errno or 0, SEE_DOCTOR)
            return Explanation(f"{_file(e)}: {e.strerror or e}", _elsewhere(hint, argv))
        case _:
            return _explain_unexpected(e)


def _has_working_directory() -> bool:
    try:
        Path.cwd()
    except OSError:
        return False
    return True


def _file(e: OSError) -> str:
    """Return the file that an error names, whose name may be bytes; `system` without one."""
    return "system" if not e.filename else str(e.filename)


def _explain_unexpected(e: BaseException) -> Explanation:
    """Return one line for an exception that no code expects, and write its traceback to a file."""
    what = f"{type(e).__name__}: {e}".removesuffix(": ")
    where, file = "", None
    with contextlib.suppress(Exception):  # no memory or no file may be left, even to import a module
        from kit.cli import crash

        where = crash.describe_place(e)
        file = crash.write_traceback(e)
    hint = (
        f"report this error with the traceback in {file}"
        if file
        else "delete files to make room, then try again"
    )
    return Explanation(one_line(f"unexpected error{f' at {where}' if where else ''}: {what}"), hint)


def _explain_usage(e: click.ClickException) -> Explanation:
    context = e.ctx if isinstance(e, click.UsageError) else None
    message = e.format_message()
    first, *more = message.splitlines() if isinstance(e, click.MissingParameter) else (message,)
    return Explanation(first, f"{context.command_path} --help" if context else "", [*more, *_origin(e)])


def _show(e: BaseException, why: Explanation) -> None:
    """Print an explanation, after the command's usage if the error is about it."""
    if isinstance(e, click.exceptions.NoArgsIsHelpError):
        e.show()
        return
    if isinstance(e, click.UsageError) and e.ctx is not None:
        note(*e.ctx.get_usage().splitlines(), "")
    complain(*why)


def _origin(e: click.ClickException) -> list[str]:
    """Return a line about where a wrong value is from, if not from the command line."""
    if not isinstance(e, click.BadParameter) or e.ctx is None or e.param is None:
        return []
    match e.ctx.get_parameter_source(str(e.param.name)):
        case ParameterSource.ENVIRONMENT:
            return [f"from the environment variable {e.param.envvar}"]
        case ParameterSource.DEFAULT_MAP:
            path = tuple(e.ctx.command_path.split()[1:])
            return [f"from {e.ctx.find_root().obj.origins[(*path, e.param.name)]}"]
        case _:
            return []


def _elsewhere(hint: str, argv: Sequence[str]) -> str:
    """Return `hint`, or an empty text if it names the command that is running."""
    named = hint.partition("speedrun ")[2].split()
    return "" if named and named in (argv, argv[:1]) else hint
