"""`speedrun submit check`: check every entry of a repository."""

from __future__ import annotations

from pathlib import Path

import click

from kit.cli.data_lock_text import tell_data_locks
from kit.cli.options import board_base_option, data_lock_option, keys_option
from kit.cli.submit.annotations import annotation, error_annotation, without_commands
from kit.cli.terminal import Meter, emit_json, note, say
from kit.core.errors import KitError
from kit.core.text import counted, one_line
from kit.leaderboard.submit.check import CheckedBoard, check, summary
from kit.leaderboard.submit.data_locks import read_locks
from kit.result.keys import trusted


@click.command("check")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print all findings as one JSON object.")
@click.option("--github", is_flag=True, help="Print findings as annotations of GitHub Actions.")
@board_base_option
@data_lock_option
@keys_option
def command(
    folder: Path, as_json: bool, github: bool, base: Path | None, data_locks: tuple[Path, ...], keys: Path
) -> int:
    """Check every entry in a repository; offline.

    Lists all findings for the entries below FOLDER/submissions; a run and a series are one entry each. To
    check a submission before it runs, use `speedrun check`. A run that missed its target is acceptable,
    because every run counts.

    The shards of full results are compared with the data locks that FOLDER/board.toml names, or with those of
    --data-lock. Without either, the output says that they were not compared.

    A copy of a result has the bytes of its original. With --base, the entry that was there before is the
    original, and its copy is a duplicate. Without it, both are, unless their bundles have different dates.

    Exit 0: no findings. 1: well-formed, but not acceptable (an untrusted key, a smoke or host run, a
    duplicate, a replay, other data, a part of a series). 3: a file is missing. 4: a file failed verification
    or is unexpected. The highest code counts.

    \b
    Examples:
      speedrun submit check ../leaderboard
      speedrun submit check ../leaderboard --json
      speedrun submit check ../leaderboard --base ../leaderboard-main
      speedrun submit check ../leaderboard --github
      speedrun submit check ../leaderboard --data-lock fineweb10B.lock.json
    """
    if as_json and github:
        raise click.UsageError("--json and --github cannot be used together")
    meter = Meter(count=True)
    try:
        locks = read_locks(data_locks)
        checked = check(folder, trusted(keys), lambda done, total: meter("entries", done, total), locks, base)
    except KitError as e:
        if not github:
            raise
        say(error_annotation(e))
        raise without_commands(e) from e
    if as_json:
        findings = [{"where": f.where, "rule": f.rule, "message": f.message} for f in checked.findings]
        accepted = [one.where.relative_to(folder).as_posix() for one in checked.accepted]
        series = [one.where.relative_to(folder).as_posix() for one in checked.series]
        emit_json(
            {
                "entries": checked.entries,
                "accepted": accepted,
                "series": series,
                "findings": findings,
                "exit": checked.exit_code,
                "before": checked.before,
                "before_accepted": checked.before_accepted,
                "data_locks": [lock.sha256 for lock in checked.locks],
                "data_not_compared": 0 if checked.locks else checked.with_shards,
            }
        )
    else:
        for f in checked.findings:
            say(annotation(f, folder, folder.as_posix()) if github else f"{f.where}: {f.rule}: {f.message}")
        note(_counts(checked))
        if base is not None:
            both = counted(checked.before or 0, "entry is", "entries are")
            also_accepted = "" if not checked.before else f" ({checked.before_accepted} accepted)"
            note(f"{both} in {one_line(str(base))} too{also_accepted}")
    tell_data_locks(checked.locks, checked.with_shards)
    return checked.exit_code


def _counts(checked: CheckedBoard) -> str:
    """Count entries and findings apart: one entry may have several findings, and some are about none."""
    entries = counted(checked.entries, "entry", "entries")
    accepted = len(checked.accepted) + len(checked.series)
    if not checked.findings:
        return f"{entries} accepted; no findings"
    rules = ", ".join(f"{n} {rule}" for rule, n in summary(checked).items())
    found = counted(len(checked.findings), "finding")
    return f"{entries}: {accepted} accepted, {checked.entries - accepted} refused; {found} ({rules})"
