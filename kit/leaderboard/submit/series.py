"""
Read and write one submitted series as a directory of a repository, beside its runs.

    submissions/<task>/<agent>/<series_id>/
        entry.json     agent, model, hints, retraction: the same as in the entries of its candidates
        plan.json      signed before the first run
        series.json    signed at the end; missing while the series is in progress
        signer.pem     the public key of both
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.core.digest import sha256_file
from kit.core.errors import DigestMismatch, PrerequisiteError, UsageError
from kit.core.files import disk_errors, make_folder
from kit.core.text import in_shell
from kit.leaderboard.submit.entry import (
    ENTRY,
    BoardEntry,
    place_for,
    read_bounded,
    read_entry,
    read_signer_key,
    require_no_link,
    write_submission,
)
from kit.result import dsse, folder
from kit.result.keys import MAX_PEM, Trusted
from kit.result.verify import VerifiedBundle, open_bundle
from kit.series.documents import SignedDocuments, read_documents, run_mismatches
from kit.series.record import PLAN, RECORD, SERIES_ID

REQUIRED = (ENTRY, PLAN, folder.SIGNER)
OPTIONAL = (RECORD,)


@dataclass(frozen=True, slots=True)
class SubmittedSeries:
    """One directory whose signed documents have been verified. Its runs have not been."""

    where: Path
    entry: BoardEntry
    documents: SignedDocuments


def is_series(name: str) -> bool:
    """Return whether this directory name is a series id."""
    return SERIES_ID.fullmatch(name) is not None


def open_submitted_series(where: Path, trusted: Trusted) -> SubmittedSeries:
    """Read and verify one directory. Raises as `read_entry`, `read_bounded` and `read_documents` do."""
    entry = read_entry(where / ENTRY)
    for name in (PLAN, RECORD):
        if name == PLAN or (where / name).exists():
            read_bounded(where / name, dsse.MAX_BUNDLE)
    read_bounded(where / folder.SIGNER, MAX_PEM)
    return SubmittedSeries(where, entry, read_documents(where, trusted, unfinished=True))


def place_of_series(documents: SignedDocuments, agent: str) -> str:
    """Return the directory of a series in a repository. Raises `UsageError` for an invalid agent name."""
    return place_for(documents.plan.name, agent, documents.plan.id)


def verify_whole_series(where: Path, trusted: Trusted) -> tuple[SignedDocuments, tuple[VerifiedBundle, ...]]:
    """
    Verify a series in a directory of runs, and all its runs that ended.

    For a series in progress, verify the plan alone. Raises as `read_documents`
    and `open_bundle`, and `DigestMismatch`.
    """
    documents = read_documents(where, trusted, unfinished=True)
    runs = []
    for run_id in documents.bundles:
        bundle = open_bundle(where.parent / run_id, trusted)
        for why in run_mismatches(documents, bundle, sha256_file(bundle.path)):
            raise DigestMismatch(f"{bundle.path} {why}")
        runs.append(bundle)
    return documents, tuple(runs)


def write_series_submission(
    where: Path, documents: SignedDocuments, runs: Sequence[VerifiedBundle], entry: BoardEntry, root: Path
) -> tuple[str, ...]:
    """
    Write a verified series and its runs as directories below `root`, all or none; return their files, sorted.

    If only the plan was submitted before, complete that directory. Raises as `write_submission`.
    """
    place = place_of_series(documents, entry.agent)
    key = read_signer_key(where)
    with disk_errors(root), tempfile.TemporaryDirectory(dir=make_folder(root), prefix=".series-") as name:
        staged = Path(name)
        files = [file for run in runs for file in write_submission(run, entry, staged)]
        (staged / place).mkdir(parents=True, exist_ok=True)
        (staged / place / ENTRY).write_bytes(entry.to_json())
        (staged / place / folder.SIGNER).write_bytes(key)
        for document in (PLAN, RECORD):
            if (where / document).is_file():
                shutil.copyfile(where / document, staged / place / document)
        files += [p.relative_to(staged).as_posix() for p in (staged / place).iterdir()]
        for file in files:
            require_no_link(root, file)
        _require_room(root, place, files)
        for file in files:
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (staged / file).rename(root / file)
    return tuple(sorted(files))


def _require_room(root: Path, place: str, files: Sequence[str]) -> None:
    there = next((f for f in files if (root / f).exists() and not f.startswith(f"{place}/")), None)
    if there is not None or (root / place / RECORD).exists():
        raise UsageError(f"{root / (there or place)} already exists", "this series is already submitted")


def refuse_session(where: Path) -> None:
    """Raise `PrerequisiteError` for the directory of a session, whose series can be submitted."""
    if not ((where / "journal.jsonl").is_file() and (where / "workspace").is_dir()):
        return
    bundles = where / "bundles"
    series = [place.name for place in bundles.iterdir() if is_series(place.name)] if bundles.is_dir() else []
    why = f"{where} is a session, not a run or a series"
    if not series:
        end = f"speedrun session end {in_shell(where)} --retime 5 --interleave"
        raise PrerequisiteError(why, f"it has no series; to make one: {end}")
    raise PrerequisiteError(why, f"repeat the command with {in_shell(bundles / max(series))} in its place")


def refuse_run_of_series(bundle: VerifiedBundle) -> None:
    """Raise `UsageError` if a run belongs to a series, which must be submitted whole."""
    series = bundle.predicate.series
    if series is not None:
        raise UsageError(
            f"run {bundle.predicate.run.id} belongs to series {series.id}",
            "submit the whole series: repeat the command with"
            f" {in_shell(bundle.path.parent.parent / series.id)} in place of the run",
        )
