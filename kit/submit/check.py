"""
The checks of a repository of submissions, all findings at once: what a bot runs on a pull request. Offline.

A finding names its rule. Verification comes first, and rules about many results look at verified ones only.
What a listing does with what is accepted is not decided here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from kit.bundle.keys import Trusted
from kit.bundle.predicate import Verdict
from kit.bundle.statement import SUBMISSION
from kit.bundle.verdict import obstacles
from kit.digest import sha256_bytes
from kit.errors import KitError, PrerequisiteError
from kit.submit.entry import FILES, ROOT, Submitted, open_submitted, place_of

MAX_RESULTS = 100_000
EMPTY = sha256_bytes(b"")


class Rule(StrEnum):
    """What can be wrong with a submission."""

    LAYOUT = "layout"
    """A file or folder that has no place there, a link, or a folder that is not named after its content."""
    MISSING = "missing"
    """A file that must be there is not."""
    INVALID = "invalid"
    """Bundle, entry or files are not what was signed, or not of their form."""
    UNTRUSTED = "untrusted key"
    UNRANKED = "unranked"
    """The result can have no rank, whatever it reached: a smoke or host run, unpinned data ..."""
    DUPLICATE = "duplicate"
    """The same run is there twice."""
    REPLAY = "replay"
    """Another result has the same nonce, or the same output to the byte: one run, signed twice."""


BYTES = frozenset({Rule.LAYOUT, Rule.INVALID})
"""Rules whose breach is exit code 4: these are not the bytes that a submission consists of."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One breach of one rule."""

    where: str
    """Relative to the repository."""
    rule: Rule
    message: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A repository, looked at."""

    accepted: tuple[Submitted, ...]
    findings: tuple[Finding, ...]
    """Sorted by place and rule."""

    @property
    def exit_code(self) -> int:
        """Return 0 for no finding, 4 for wrong bytes, 3 for missing files, else 1."""
        rules = {f.rule for f in self.findings}
        if rules & BYTES:
            return 4
        return 3 if Rule.MISSING in rules else 1 if rules else 0


def check(
    root: Path, trusted: Trusted, told: Callable[[int, int], None] = lambda done, total: None
) -> Checked:
    """
    Check every submission below `root/submissions`; `told` hears how many of how many are done.

    Links are never followed and sizes are bounded before anything is read. Other files in `root` are the
    repository's own. Raises `PrerequisiteError` if there is no such folder.
    """
    if not (root / ROOT).is_dir() or (root / ROOT).is_symlink():
        raise PrerequisiteError(
            f"{root} has no folder {ROOT}/", "give the root of a repository of submissions"
        )
    findings: list[Finding] = []
    places = list(_places(root, findings))
    opened: list[Submitted] = []
    for done, place in enumerate(places):
        found = _open(root, place, trusted, findings)
        if found is not None:
            opened.append(found)
            findings += _alone(place, found)
        told(done + 1, len(places))
    findings += _together(root, opened)
    faulty = {f.where for f in findings}
    accepted = tuple(s for s in opened if _where(root, s) not in faulty)
    return Checked(accepted, tuple(sorted(findings, key=lambda f: (f.where, f.rule, f.message))))


def _where(root: Path, found: Submitted) -> str:
    return found.where.relative_to(root).as_posix()


def _places(root: Path, findings: list[Finding]) -> Iterator[str]:
    """Yield the folders of results: three levels below `submissions`."""
    level = [ROOT]
    for _ in range(3):
        below: list[str] = []
        for place in level:
            for entry in sorted(os.scandir(root / place), key=lambda e: e.name):
                name = f"{place}/{_shown(entry.name)}"
                if entry.is_dir(follow_symlinks=False) and entry.name == _shown(entry.name):
                    below.append(name)
                else:
                    findings.append(
                        Finding(name, Rule.LAYOUT, "only folders <task>/<agent>/<run_id> are here")
                    )
        level = below
        if len(level) > MAX_RESULTS:
            raise PrerequisiteError(f"{root} holds more than {MAX_RESULTS} folders")
    yield from level


def _shown(name: str) -> str:
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in name)


def _open(root: Path, place: str, trusted: Trusted, findings: list[Finding]) -> Submitted | None:
    names = {entry.name: entry for entry in os.scandir(root / place)}
    before, wanted = len(findings), {*FILES, SUBMISSION}
    findings += [Finding(place, Rule.LAYOUT, f"{_shown(n)} has no place here") for n in set(names) - wanted]
    findings += [Finding(place, Rule.MISSING, f"{n} is missing") for n in wanted - set(names)]
    for name in wanted & set(names):
        entry = names[name]
        plain = (
            entry.is_dir(follow_symlinks=False)
            if name == SUBMISSION
            else entry.is_file(follow_symlinks=False)
        )
        if not plain:
            findings.append(Finding(place, Rule.LAYOUT, f"{name} is not a plain {_kind(name)}"))
    if len(findings) > before:
        return None
    try:
        return open_submitted(root / place, trusted)
    except KitError as e:
        findings.append(Finding(place, Rule.INVALID, e.message))
        return None


def _kind(name: str) -> str:
    return "folder" if name == SUBMISSION else "file"


def _alone(place: str, found: Submitted) -> Iterator[Finding]:
    p = found.found.predicate
    try:
        right = place_of(found.found, found.entry.agent)
    except KitError as e:
        yield Finding(place, Rule.LAYOUT, e.message)
        return
    if place != right:
        yield Finding(place, Rule.LAYOUT, f"by its content its place is {right}")
    if not found.found.trusted:
        yield Finding(place, Rule.UNTRUSTED, f"the key {found.found.key_id} is not trusted")
    # A run that missed its target is a run: it is listed, and its score is 0.
    for reason in obstacles(replace(p, score=replace(p.score, verdict=Verdict.REACHED))):
        yield Finding(place, Rule.UNRANKED, reason)


def _together(root: Path, opened: Sequence[Submitted]) -> Iterator[Finding]:
    """Compare results with each other; the one that comes first by place is taken for the original."""
    runs: dict[str, str] = {}
    nonces: dict[str, str] = {}
    logs: dict[str, str] = {}
    for found in sorted(opened, key=lambda s: s.where):
        place = _where(root, found)
        statement = found.found.statement
        run, nonce = statement.predicate.run.id, statement.predicate.run.nonce
        log = statement.subjects.log
        if run in runs:
            yield Finding(place, Rule.DUPLICATE, f"run {run} is also in {runs[run]}")
        elif nonce in nonces:
            yield Finding(place, Rule.REPLAY, f"its nonce is that of {nonces[nonce]}")
        elif log in logs and log != EMPTY:
            yield Finding(place, Rule.REPLAY, f"its output is that of {logs[log]}, to the byte")
        runs.setdefault(run, place)
        nonces.setdefault(nonce, place)
        logs.setdefault(log, place)


def summary(checked: Checked) -> dict[str, int]:
    """Return how often each rule was broken; rules that were kept are not named."""
    counts: dict[str, int] = {}
    for finding in checked.findings:
        counts[finding.rule] = counts.get(finding.rule, 0) + 1
    return dict(sorted(counts.items()))
