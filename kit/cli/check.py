"""`speedrun check`: check a submission without running it."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from kit.cli.options import TASK_NAME, profile_option, store_option, upstream_option
from kit.cli.places import places
from kit.cli.submission_text import left_out_line
from kit.cli.terminal import emit_json, note, say, warn
from kit.core.text import counted, one_line
from kit.evaluate.check import SubmissionCheck, SubmissionFinding, check_submission, check_terms
from kit.values.profile import Profile

MAX_MESSAGE = 2500


@click.command("check")
@click.argument("submission", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--record",
    type=TASK_NAME,
    metavar="N",
    help="Start record, to compare with its script and data: 3, smoke-1.",
)
@profile_option
@upstream_option
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print files and findings as JSON.")
def command(
    submission: Path,
    record: int | str | None,
    profile: str,
    upstream: Path | None,
    store: Path,
    as_json: bool,
) -> int:
    """Check a submission without running it.

    Checks file names and sizes, run.toml, whether Python can parse the code, whether the script takes its
    arguments, imports, data files, and the source checks of an evaluation. Lists the files that are left
    out. In the smoke profile, code that needs CUDA is an error.

    Only code that certainly runs is judged, so a submission without errors may still fail when it runs.

    Exit 0: nothing was found that would refuse or fail a run. 1: something was.

    \b
    Examples:
      speedrun check my-agent/ --record 3 --profile smoke
      speedrun check my-agent/ --json
    """
    where = replace(places(store, None, Path("keys")), upstream=upstream)
    check = check_submission(submission, check_terms(record, Profile(profile), where))
    if as_json:
        emit_json(document(check))
    else:
        _show(check)
    return 0 if check.is_clean else 1


def document(check: SubmissionCheck) -> dict[str, Any]:
    """Return a check as one JSON object; sizes are bytes."""
    findings = [
        {"level": "error" if f.fatal else "warning", **{k: v for k, v in asdict(f).items() if k != "fatal"}}
        for f in check.findings
    ]
    return {**asdict(check), "folder": str(check.folder), "findings": findings, "clean": check.is_clean}


def _show(check: SubmissionCheck) -> None:
    total = sum(f.size for f in check.files)
    note(f"submission: {counted(len(check.files), 'file')}, {total:,} bytes")
    if check.left_out:
        note(left_out_line(check.left_out))
    if check.args:
        note(f"arguments: {one_line(' '.join(check.args), 1000)}")
    if check.digest:
        note(f"digest: sha256:{check.digest}")
    for finding in sorted(check.findings, key=lambda f: not f.fatal):
        say(_line(finding))
    for hint in dict.fromkeys(finding.hint for finding in check.findings if finding.hint):
        note(f"hint: {hint}")
    for reason in check.skipped:
        warn(reason)
    errors = sum(f.fatal for f in check.findings)
    note(f"{counted(errors, 'error')}, {counted(len(check.findings) - errors, 'warning')}")


def _line(finding: SubmissionFinding) -> str:
    """Return a finding as compilers print it: file, line, level, rule, message."""
    where = f"{one_line(finding.file)}:" if finding.file else ""
    where += f"{finding.line}:" if finding.line else ""
    level = "error" if finding.fatal else "warning"
    return f"{where} {level}: {finding.id}: {one_line(finding.message, MAX_MESSAGE)}".lstrip()
