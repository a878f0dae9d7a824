"""
`source.*`: what a submission adds to its start script, by the rules of the task. Reads trees, runs nothing.

Every rule counts signals (`kit.audit.signals`) in both scripts; only what the submission has more of is held
against it. So a start script that calls `nvidia-smi` may go on doing so, and moved code is no finding.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence

from kit.audit.check import Check
from kit.audit.finding import Finding, Severity
from kit.audit.known import known_names
from kit.audit.script import SourceFile, read_script, signals_of
from kit.audit.signals import Signal, SourceRule

__all__ = ["CHECKS", "PARSE", "SIZE", "SourceFile", "judge"]
MAX_ADDED = 64 << 10
"""Bytes by which a submission may outgrow its start script before a person should look: records add 16 K."""
MAX_CONTENT = 24 << 10
"""Bytes by which it may outgrow it when both are compressed; 80 KiB of code come to that. Records add 1 K."""
SHOWN = 4
LISTED = 24
"""Places that are shown of what a reviewer has to look at."""
MAX_PLACE = 300
MAX_DETAIL = 1900
"""Characters of a finding's text, which a result has room for."""

_ADAPTIVE = "code that hides what it does: names that are put together at run time, or logic of its own"


def _check(name: str, severity: Severity, sees: str, cannot_see: str = _ADAPTIVE) -> Check:
    return Check(f"source.{name}", severity, sees, cannot_see)


F, W = Severity.FATAL, Severity.WARNING
CHECKS = {
    SourceRule.DATA: _check(
        SourceRule.DATA, F,
        "other data files or paths, another number of validation tokens, more batches of them",
        "data that are read through the official names and then skipped, masked or reordered",
    ),
    SourceRule.PATCH: _check(
        SourceRule.PATCH, F, "functions of imported modules, builtins or `print` that are replaced"
    ),
    SourceRule.CLAIM: _check(
        SourceRule.CLAIM, F, "lines that claim a loss or time written as a literal",
        "a false figure that is computed, however simply",
    ),
    SourceRule.OUTPUT: _check(
        SourceRule.OUTPUT, F, "writing to stdout or file descriptors other than by `print`"
    ),
    SourceRule.NETWORK: _check(SourceRule.NETWORK, F, "imports of modules that talk to a network"),
    SourceRule.PROCESS: _check(SourceRule.PROCESS, F,
        "new processes, signals, exits past the interpreter, exit handlers"
    ),
    SourceRule.DYNAMIC: _check(
        SourceRule.DYNAMIC, F, "code made at run time, frames, interpreter internals, foreign functions"
    ),
    SourceRule.WEIGHTS: _check(SourceRule.WEIGHTS, F, "weights or tables that are loaded or unpacked"),
    SourceRule.COMPILER: _check(
        SourceRule.COMPILER, F,
        "compiler options that the rules do not allow", "options that come with library calls"
    ),
    SourceRule.BLOB: _check(
        SourceRule.BLOB, F,
        "long literals, long tables, files that are not text, a script that has 24 KiB more to say",
        "a small blob in many short pieces",
    ),
    SourceRule.LINES: _check(
        SourceRule.LINES, W,
        "more places than before that print a claim's words", "a changed line that is printed as often"
    ),
    SourceRule.TIMER: _check(
        SourceRule.TIMER, W, "timers and device synchronisation called in more or fewer places",
        "work that is moved out of the timed part",
    ),
    SourceRule.SURROUNDINGS: _check(
        SourceRule.SURROUNDINGS, W,
        "a look at the machine, other variables or files: how a script could tell a test apart",
        "recognition by the data or by timing",
    ),
    SourceRule.SELECTION: _check(
        SourceRule.SELECTION, W,
        "losses that are picked, bounded or weighted before their mean, which a canary may not see",
        "the same by plain arithmetic, or under names that no loss goes by",
    ),
    SourceRule.FILES: _check(
        SourceRule.FILES, F,
        "files that are read other than by the start script's own readers: texts of the submission above all",
        "a reader of the start script that is given another path at run time",
    ),
    SourceRule.CHARACTERS: _check(
        SourceRule.CHARACTERS, F,
        "characters that are invisible or turn the direction of text, letters that look like others",
        "letters of one alphabet that a reader's font draws alike",
    ),
    SourceRule.ALLOWED: _check(
        SourceRule.ALLOWED, W,
        "modules, builtins and attributes that are on no list of allowed ones, for a reviewer to look at",
        "what can be done with allowed names alone: logic of its own, such as false arithmetic on a loss",
    ),
}  # fmt: skip
PARSE = _check(
    "parse", F, "files that Python 3.11 cannot read, or reads in another encoding; an unreadable run.toml", ""
)
SIZE = _check("size", W, "a submission that outgrows its start script by more than 64 KiB", "what it is")


def judge(submission: Sequence[SourceFile], baseline: Sequence[SourceFile] | None) -> tuple[Finding, ...]:
    """
    Compare a submission with its start script; every check is skipped if that is not at hand (None).

    A file that cannot be read as Python fails `source.parse`, and what it does is not looked at.
    """
    if baseline is None:
        return tuple(c.skipped("the start script is not at hand") for c in (PARSE, *CHECKS.values(), SIZE))
    start = read_script(baseline)
    known = known_names(start.names)
    before, _ = signals_of(start, known)
    after, faults = signals_of(read_script(submission), known)
    added = _added(before, after)
    added += _content(submission, baseline)
    grown = sum(len(f.data) for f in submission) - sum(len(f.data) for f in baseline)
    findings = [PARSE.failed("; ".join(faults[:SHOWN])) if faults else PARSE.passed("every file can be read")]
    findings += [_finding(CHECKS[rule], [s for s in added if s[1].rule is rule]) for rule in CHECKS]
    if grown > MAX_ADDED:
        findings.append(SIZE.failed(f"{grown} bytes more than the start script", added_bytes=grown))
    else:
        findings.append(SIZE.passed(f"{grown:+d} bytes against the start script", added_bytes=grown))
    return tuple(findings)


def _content(submission: Sequence[SourceFile], baseline: Sequence[SourceFile]) -> list[tuple[str, Signal]]:
    """Return a signal if the files have far more to say, whatever names or pieces it is spread over."""
    grown = _compressed(submission) - _compressed(baseline)
    if grown <= MAX_CONTENT:
        return []
    text = f"at least {grown >> 10} KiB of content, however it is written"
    return [("the submission", Signal(SourceRule.BLOB, text, 0))]


def _compressed(files: Sequence[SourceFile]) -> int:
    return sum(len(zlib.compress(f.data, 9)) for f in files)


def _finding(check: Check, added: list[tuple[str, Signal]]) -> Finding:
    if not added:
        return check.passed("the submission adds none")
    shown = LISTED if check is CHECKS[SourceRule.ALLOWED] else SHOWN
    places: list[str] = []
    left = MAX_DETAIL
    for name, signal in added[:shown]:
        place = f"{name}:{signal.line}: {ascii(signal.description)[1:-1][:MAX_PLACE]}"
        left -= len(place) + 2
        if left < 0:
            break
        places.append(place)
    more = f"; and {len(added) - len(places)} more" if len(added) > len(places) else ""
    return check.failed(f"adds {'; '.join(places)}{more}", added=len(added))


def _added(before: list[tuple[str, Signal]], after: list[tuple[str, Signal]]) -> list[tuple[str, Signal]]:
    """Return the signals that the submission has more of; timers also count where it has fewer."""
    had = Counter((s.rule, s.description) for _, s in before)
    have = Counter((s.rule, s.description) for _, s in after)
    surplus = have - had
    added: list[tuple[str, Signal]] = []
    for name, signal in reversed(after):
        key = signal.rule, signal.description
        if surplus[key] > 0:
            surplus[key] -= 1
            added.append((name, signal))
    lost = Counter({key: n for key, n in (had - have).items() if key[0] is SourceRule.TIMER})
    added += [
        ("the start script", Signal(rule, f"{n} fewer of {description}", 0))
        for (rule, description), n in lost.items()
    ]
    return sorted(added, key=lambda item: (item[0], item[1].line, item[1].description))
