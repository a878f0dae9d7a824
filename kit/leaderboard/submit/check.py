"""
Check a repository of entries offline and report all findings: a bot runs this on a pull request.

A finding names its rule. Verification comes first; rules about several results use verified results only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from kit.benchmark.records import known, known_smoke, load, own_digest
from kit.core.errors import KitError, PrerequisiteError, SignatureError, UsageError
from kit.core.facts import facts_root
from kit.core.text import in_shell
from kit.leaderboard.submit import series as series_folder
from kit.leaderboard.submit.compare import check_data, check_names, check_together, relative_place
from kit.leaderboard.submit.data_locks import DataLock, is_compared, read_board_locks
from kit.leaderboard.submit.entry import FILES, ROOT, Submitted, open_submitted, place_of, read_bounded
from kit.leaderboard.submit.finding import BYTES, BoardFinding, BoardRule
from kit.leaderboard.submit.layout import check_files, entry_places
from kit.leaderboard.submit.precedence import BoardBase
from kit.leaderboard.submit.series import SubmittedSeries, is_series, open_submitted_series, place_of_series
from kit.leaderboard.submit.whole import check_series
from kit.result.appraisal.verdict import SMOKE_IS_UNRANKED, ranking_blockers
from kit.result.dsse import MAX_BUNDLE
from kit.result.folder import BUNDLE, SIGNER
from kit.result.keys import Trusted, read_public
from kit.result.predicate import Verdict
from kit.result.revocations import FILE as REVOKED
from kit.result.statement import SUBMISSION
from kit.series.documents import mismatched_scripts
from kit.series.record import PLAN
from kit.values.profile import Profile

_record = functools.cache(load)


@dataclass(frozen=True, slots=True)
class CheckedBoard:
    """The result of checking a repository."""

    accepted: tuple[Submitted, ...]
    series: tuple[SubmittedSeries, ...]
    """Series without a finding: all runs of each are accepted, or it has not ended."""
    findings: tuple[BoardFinding, ...]
    """Sorted by directory and rule."""
    locks: tuple[DataLock, ...] = ()
    """The data locks that the results were compared with."""
    entries: int = 0
    """All entries, accepted or not: directories of runs and of series."""
    before: int | None = None
    """The entries that the base has too, accepted or not; None without a base."""
    before_accepted: int | None = None
    """Those of them that are accepted."""
    smoke: tuple[Submitted, ...] = ()
    """Runs of the smoke profile that are valid otherwise: they break no rule but `UNRANKED`."""

    @property
    def with_shards(self) -> int:
        """Count the accepted results whose data a lock can pin."""
        return sum(is_compared(s.bundle.predicate) for s in self.accepted)

    @property
    def exit_code(self) -> int:
        """Return 0 without findings, 4 for wrong bytes, 3 for missing files, else 1."""
        rules = {f.rule for f in self.findings}
        if rules & BYTES:
            return 4
        return 3 if BoardRule.MISSING in rules else 1 if rules else 0


def check(
    root: Path,
    trusted: Trusted,
    progress: Callable[[int, int], None] = lambda done, total: None,
    locks: Sequence[DataLock] = (),
    base: Path | None = None,
) -> CheckedBoard:
    """
    Check every entry below `root/submissions`; `progress` receives done and total.

    `locks` are the data locks that the board accepts; if empty, those that its board.toml names.
    `base` is an earlier state of the repository: its entries were there before all others.

    Links are never followed, and sizes are checked before a file is read. Other files in `root` are ignored.
    Raises `PrerequisiteError` if that directory is missing.
    """
    if not (root / ROOT).is_dir() or (root / ROOT).is_symlink():
        raise PrerequisiteError(
            f"directory {ROOT}/ not found in {root}",
            f"pass the root of a repository of entries; for an empty one: mkdir -p {in_shell(root / ROOT)}",
        )
    findings: list[BoardFinding] = []
    accepted_locks = tuple(locks) or read_board_locks(root)
    trusted = _with_revocations(root, trusted, findings)
    places = list(entry_places(root, findings))
    runs: list[Submitted] = []
    series: list[SubmittedSeries] = []
    for done, place in enumerate(places):
        if is_series(place.rsplit("/", 1)[-1]):
            series += _open_series(root, place, trusted, findings)
        else:
            runs += _open_run(root, place, trusted, findings)
        progress(done + 1, len(places))
    earlier = None
    if base is not None:
        opened = {relative_place(root, s) for s in runs} | {relative_place(root, s) for s in series}
        earlier = _read_base(base, root, opened - {f.where for f in findings}, trusted)
    findings += list(check_data(root, runs, accepted_locks))
    findings += list(check_together(root, runs, {f.where for f in findings}, earlier))
    findings += list(check_names(root, runs, series, {f.where for f in findings}, earlier))
    findings += list(check_series(root, runs, series, {f.where for f in findings}, earlier))
    faulty = {f.where for f in findings}
    broken = {f.where for f in findings if f.rule is not BoardRule.UNRANKED}
    return CheckedBoard(
        tuple(s for s in runs if relative_place(root, s) not in faulty),
        tuple(s for s in series if relative_place(root, s) not in faulty),
        tuple(sorted(findings, key=lambda f: (f.where, f.rule, f.message))),
        accepted_locks,
        len(places),
        None if earlier is None else len(earlier.kept | earlier.faulty),
        None if earlier is None else len(earlier.kept - faulty),
        tuple(s for s in runs if _is_smoke(s) and relative_place(root, s) not in broken),
    )


def _is_smoke(submitted: Submitted) -> bool:
    return submitted.bundle.predicate.task.profile is Profile.SMOKE


def _with_revocations(root: Path, trusted: Trusted, findings: list[BoardFinding]) -> Trusted:
    """Add the repository's list of revoked keys if a trusted key signed the list."""
    try:
        return trusted.with_revocations(root / REVOKED)
    except SignatureError as e:
        findings.append(BoardFinding(REVOKED, BoardRule.UNTRUSTED, f"the list is ignored: {e.message}"))
    except KitError as e:
        findings.append(BoardFinding(REVOKED, BoardRule.INVALID, e.message))
    return trusted


def _read_base(base: Path, root: Path, opened: Set[str], trusted: Trusted) -> BoardBase:
    """
    Read an earlier state of the repository; `opened` are the entries of `root` that have no finding.

    Raises `PrerequisiteError` if it is missing, `UsageError` if it is `root` itself.
    """
    if not base.is_dir():
        raise PrerequisiteError(f"directory {base} not found", "pass a checkout of the base branch")
    if base.samefile(root):
        raise UsageError(f"{base} is the checked repository", "pass a checkout of the base branch")
    kept: set[str] = set()
    refused: set[str] = set()
    gone: list[tuple[str, Submitted | SubmittedSeries]] = []
    for place in entry_places(base, []) if (base / ROOT).is_dir() else ():
        run = not is_series(place.rsplit("/", 1)[-1])
        if _same_file(base / place, root / place, BUNDLE if run else PLAN):
            if place in opened:
                kept.add(place)
                continue
            refused.add(place)
        faults: list[BoardFinding] = []
        there: list[Submitted | SubmittedSeries] = []
        there += (_open_run if run else _open_series)(base, place, trusted, faults)
        gone += [(place, submitted) for submitted in there if not faults]
    return BoardBase(kept, tuple(gone), refused)


def _same_file(one: Path, other: Path, name: str) -> bool:
    try:
        return read_bounded(one / name, MAX_BUNDLE) == read_bounded(other / name, MAX_BUNDLE)
    except (KitError, OSError):
        return False


def _open_run(root: Path, place: str, trusted: Trusted, findings: list[BoardFinding]) -> Iterator[Submitted]:
    """Yield the run in a directory if it can be opened; append its findings."""
    faults = list(check_files(root, place, {*FILES, SUBMISSION}, frozenset()))
    findings += faults
    if faults:
        return
    try:
        submitted = open_submitted(root / place, trusted)
    except KitError as e:
        findings.append(BoardFinding(place, BoardRule.INVALID, e.message))
        return
    findings += _check_alone(place, submitted)
    yield submitted


def _open_series(
    root: Path, place: str, trusted: Trusted, findings: list[BoardFinding]
) -> Iterator[SubmittedSeries]:
    """Yield the series in a directory if it can be opened; append its findings."""
    faults = list(check_files(root, place, set(series_folder.REQUIRED), frozenset(series_folder.OPTIONAL)))
    findings += faults
    if faults:
        return
    try:
        submitted = open_submitted_series(root / place, trusted)
        right = place_of_series(submitted.documents, submitted.entry.agent)
        reasons = list(mismatched_scripts(submitted.documents.plan, facts_root() / "records"))
    except KitError as e:
        findings.append(BoardFinding(place, BoardRule.INVALID, e.message))
        return
    if place != right:
        findings.append(BoardFinding(place, BoardRule.LAYOUT, f"expected path: {right}"))
    findings += [BoardFinding(place, BoardRule.INVALID, why) for why in reasons]
    if not submitted.documents.trusted:
        findings.append(_distrusted(place, root, trusted))
    if submitted.documents.plan.profile is Profile.SMOKE:
        findings.append(BoardFinding(place, BoardRule.UNRANKED, SMOKE_IS_UNRANKED))
    yield submitted


def _distrusted(place: str, root: Path, trusted: Trusted) -> BoardFinding:
    """Return the finding for a series whose key is revoked or untrusted."""
    revoked = trusted.revocation(read_public(root / place / SIGNER).key_id)
    if revoked is not None:
        return BoardFinding(
            place, BoardRule.REVOKED, f"key {revoked.key_id[:12]} was revoked: {revoked.describe()}"
        )
    return BoardFinding(place, BoardRule.UNTRUSTED, "its plan or record is signed by an untrusted key")


def _check_alone(place: str, submitted: Submitted) -> Iterator[BoardFinding]:
    p = submitted.bundle.predicate
    try:
        right = place_of(submitted.bundle, submitted.entry.agent)
    except KitError as e:
        yield BoardFinding(place, BoardRule.LAYOUT, e.message)
        return
    if place != right:
        yield BoardFinding(place, BoardRule.LAYOUT, f"expected path: {right}")
    if (revoked := submitted.bundle.revoked) is not None:
        yield BoardFinding(
            place, BoardRule.REVOKED, f"key {revoked.key_id[:12]} was revoked: {revoked.describe()}"
        )
    elif not submitted.bundle.trusted:
        yield BoardFinding(
            place, BoardRule.UNTRUSTED, f"signed by untrusted key {submitted.bundle.key_id[:12]}"
        )
    if why := _why_no_task(submitted):
        yield BoardFinding(place, BoardRule.UNRANKED, why)
    # A run that missed its target is listed with score 0.
    for reason in ranking_blockers(replace(p, score=replace(p.score, verdict=Verdict.REACHED))):
        yield BoardFinding(place, BoardRule.UNRANKED, reason)


def _why_no_task(submitted: Submitted) -> str:
    """Return why a board has no row for a run; a record's original script is an arm of a task."""
    name, records = submitted.bundle.predicate.task.id, facts_root() / "records"
    if name not in {*known(records), *known_smoke(records)}:
        return f"record {name} is unknown to this version of speedrun"
    record = _record(records, name)
    if record.no_task is None or submitted.bundle.statement.subjects.submission == own_digest(record):
        return ""
    return f"record {name} starts no task: {record.no_task}"


def summary(checked: CheckedBoard) -> dict[str, int]:
    """Count the findings of each rule; rules without findings are left out."""
    counts: dict[str, int] = {}
    for finding in checked.findings:
        counts[finding.rule] = counts.get(finding.rule, 0) + 1
    return dict(sorted(counts.items()))
