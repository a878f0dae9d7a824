"""`speedrun record draft`: write the TOML file of a new record for a person to review."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from kit.benchmark.drafts.clone import UpstreamClone
from kit.benchmark.drafts.draft import draft_record
from kit.benchmark.drafts.drafted import EraVersions, LogSource, UpstreamOrigin
from kit.cli.options import upstream_option
from kit.cli.terminal import say_document, say_path
from kit.core.errors import PrerequisiteError, UsageError
from kit.core.facts import facts_root
from kit.core.files import require_parent, write_atomic
from kit.core.text import is_printable, one_line
from kit.image.lock import read_lock
from kit.image.spec import read_spec
from kit.values.output import read_log_bytes
from kit.values.task_id import is_smoke, task_id

_COMMIT = re.compile(r"(?P<commit>[0-9a-f]{7,40}|HEAD)(?::(?P<path>.+))?", re.ASCII)
_NOT_A_SOURCE = "pass a log file, or --upstream DIR with COMMIT or COMMIT:PATH_OF_A_LOG"


@click.command("draft")
@click.argument("source", metavar="LOG_OR_COMMIT")
@click.option("--id", "name", required=True, metavar="N", help="Number of the new record, such as 90.")
@click.option(
    "--log",
    "log",
    metavar="LOG",
    help="Log of a commit's record: a file, or COMMIT:PATH.  [default: the draft has none]",
)
@upstream_option
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="New file.  [default: standard output]"
)
def command(source: str, name: str, log: str | None, upstream: Path | None, out: Path | None) -> None:
    """Write the TOML file of a new record for a person to review.

    LOG_OR_COMMIT is a log file, the place of a log in upstream's repository (COMMIT:PATH), or a commit whose
    train_gpt.py is the record. What the log, the script and upstream's table say is filled in. What cannot be
    derived has a comment "# review:"; a required field that is unknown has a value that no command accepts.
    The script is read, never run.

    \b
    Examples:
      speedrun record draft run.txt --id 90
      speedrun record draft f411b3d3 --id 90 --upstream ../modded-nanogpt/.git --out 90.toml
    """
    if is_smoke(task_id(name)):
        raise UsageError(f"{name} is the name of a smoke record", "use a number, such as 90")
    clone = None if upstream is None else UpstreamClone(upstream)
    match = None if Path(source).is_file() else _COMMIT.fullmatch(source)
    if match is not None and match["path"] is None:
        if clone is None:
            raise UsageError(f"{source} is a commit, and no repository was named", "add --upstream DIR")
        read = None if log is None else _log(log, clone)
        text = draft_record(task_id(name), read, clone.commit(source), clone, eras())
    elif log is not None:
        raise UsageError("--log belongs to a commit", "pass a commit and --log, or only a log")
    else:
        text = draft_record(task_id(name), _log(source, clone), None, clone, eras())
    if out is None:
        say_document(text)
        return
    if os.path.lexists(out):
        raise UsageError(f"{out} already exists", "choose another path with --out")
    require_parent(out)
    write_atomic(out, text.encode())
    say_path(out)


def _log(source: str, clone: UpstreamClone | None) -> LogSource:
    if Path(source).is_file():
        return LogSource(read_log_bytes(Path(source)), None)
    match = _COMMIT.fullmatch(source)
    if match is None or match["path"] is None or not is_printable(match["path"]):
        raise PrerequisiteError(f"log not found: {one_line(source)}", _NOT_A_SOURCE)
    if clone is None:
        raise UsageError(f"{one_line(source)} is in a commit; no repository was named", "add --upstream DIR")
    commit = clone.commit(match["commit"])
    data = clone.file(commit, match["path"])
    if data is None:
        raise PrerequisiteError(f"{one_line(match['path'])} not found in commit {commit}", _NOT_A_SOURCE)
    return LogSource(data, UpstreamOrigin(commit, match["path"]))


def eras() -> tuple[EraVersions, ...]:
    """Return what the images with CUDA have, by their locks."""
    images = facts_root() / "images"
    found: list[EraVersions] = []
    for path in sorted(images.glob("torch-*/image.toml")):
        spec = read_spec(images, path.parent.name)
        wheels = {wheel.project: wheel.version for wheel in read_lock(spec).wheels}
        stated = {component.component: component.version for component in spec.fidelity}
        found.append(EraVersions(spec.era, stated["torch"], wheels.get("triton"), stated["python"]))
    return tuple(found)
