"""
`source.*`: compare a submission's source with its start script. The source is parsed, never run.

Every rule counts signals (`kit.audit.signals`) in both scripts and reports only what the submission adds. A
start script that calls `nvidia-smi` may still do so, and moved code is not reported.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence

from kit.audit.check import Check
from kit.audit.finding import Finding, Severity
from kit.audit.known import known_names
from kit.audit.parsing import ParsedFile, SourceFile, parse_files
from kit.audit.script import read_script, signals_of
from kit.audit.signals import Signal, SourceRule

__all__ = ["CHECKS", "PARSE", "SIZE", "SourceFile", "judge"]
MAX_ADDED = 64 << 10
"""Bytes that a submission may add before a person should look. Records add up to 16 KiB."""
MAX_CONTENT = 24 << 10
"""Compressed bytes that a submission may add, about 80 KiB of code. Records add up to 1.1 KiB."""
SHOWN = 4
LISTED = 24
"""Places that `source.allowed` shows to a reviewer."""
MAX_PLACE = 300
MAX_DETAIL = 1900
"""Characters of a finding's detail; the result schema allows no more than 2,000."""

_ADAPTIVE = "code that hides what it does, for example with names built at run time"


def _check(name: str, severity: Severity, sees: str, cannot_see: str = _ADAPTIVE) -> Check:
    return Check(f"source.{name}", severity, sees, cannot_see)


F, W = Severity.FATAL, Severity.WARNING
CHECKS = {
    SourceRule.DATA: _check(
        SourceRule.DATA, F,
        "other data files or paths, a different number of validation tokens or batches",
        "official data that is read and then skipped, masked or reordered",
    ),
    SourceRule.PATCH: _check(
        SourceRule.PATCH, F, "replaced functions of imported modules, replaced builtins, a replaced `print`"
    ),
    SourceRule.CLAIM: _check(
        SourceRule.CLAIM, F, "a loss or time that is printed as a literal",
        "a false value that is computed",
    ),
    SourceRule.OUTPUT: _check(
        SourceRule.OUTPUT, F, "writes to stdout or file descriptors without `print`"
    ),
    SourceRule.NETWORK: _check(SourceRule.NETWORK, F, "imports of network modules"),
    SourceRule.PROCESS: _check(SourceRule.PROCESS, F,
        "new processes, signals, `os._exit` and the like, exit handlers"
    ),
    SourceRule.DYNAMIC: _check(
        SourceRule.DYNAMIC, F, "code generated at run time, frames, interpreter internals, foreign functions"
    ),
    SourceRule.WEIGHTS: _check(SourceRule.WEIGHTS, F, "weights or tables that are loaded or decompressed"),
    SourceRule.COMPILER: _check(
        SourceRule.COMPILER, F,
        "compiler options that the rules do not allow", "options that a library call sets"
    ),
    SourceRule.BLOB: _check(
        SourceRule.BLOB, F,
        "long literals, long tables, files that are not text, over 24 KiB of added content when compressed",
        "a small blob in many short pieces",
    ),
    SourceRule.LINES: _check(
        SourceRule.LINES, W,
        "more statements that print a loss or time than the start script has",
        "a print statement that was changed but not repeated"
    ),
    SourceRule.TIMER: _check(
        SourceRule.TIMER, W, "more or fewer calls of timers or device synchronisation",
        "work moved out of the timed part",
    ),
    SourceRule.SURROUNDINGS: _check(
        SourceRule.SURROUNDINGS, W,
        "reads of machine properties, environment variables or files, by which a script could detect a test",
        "detection of a test by its data or by timing",
    ),
    SourceRule.SELECTION: _check(
        SourceRule.SELECTION, W,
        "losses that are selected, clamped or weighted before the mean; a canary may miss this",
        "the same done with plain arithmetic, or with names that do not suggest a loss",
    ),
    SourceRule.FILES: _check(
        SourceRule.FILES, F,
        "reading files that the start script does not read, for example a text file in the submission",
        "a reader from the start script that gets another path at run time",
    ),
    SourceRule.CHARACTERS: _check(
        SourceRule.CHARACTERS, F,
        "invisible characters, characters that change the text direction, look-alike letters",
        "letters of one alphabet that look alike in the reader's font",
    ),
    SourceRule.ALLOWED: _check(
        SourceRule.ALLOWED, W,
        "modules, builtins and attributes that are not on the allowlist; a reviewer must look at them",
        "cheats that use allowed names alone, such as false arithmetic on a loss",
    ),
}  # fmt: skip
PARSE = _check(
    "parse", F, "files that Python 3.11 cannot parse or that are not UTF-8; an unreadable run.toml", ""
)
SIZE = _check("size", W, "a submission more than 64 KiB larger than its start script", "what was added")


def judge(submission: Sequence[SourceFile], baseline: Sequence[SourceFile] | None) -> tuple[Finding, ...]:
    """
    Compare a submission with its start script. Without a start script (None) every check is skipped.

    A file that cannot be parsed fails `source.parse`; the other checks do not see its content.
    """
    return judge_parsed(() if baseline is None else parse_files(submission), baseline)


def judge_parsed(parsed: Sequence[ParsedFile], baseline: Sequence[SourceFile] | None) -> tuple[Finding, ...]:
    """Compare a submission that is already parsed with its start script, as `judge` does."""
    if baseline is None:
        return tuple(c.skipped("the start script is not available") for c in (PARSE, *CHECKS.values(), SIZE))
    submission = [p.file for p in parsed]
    start = read_script(parse_files(baseline))
    known = known_names(start.names)
    before, _ = signals_of(start, known)
    after, faults = signals_of(read_script(parsed), known)
    added = _added(before, after)
    added += _content(submission, baseline)
    grown = sum(len(f.data) for f in submission) - sum(len(f.data) for f in baseline)
    findings = [
        PARSE.failed("; ".join(faults[:SHOWN])) if faults else PARSE.passed("all files can be parsed")
    ]
    findings += [_finding(CHECKS[rule], [s for s in added if s[1].rule is rule]) for rule in CHECKS]
    if grown > MAX_ADDED:
        findings.append(SIZE.failed(f"{grown} bytes larger than the start script", added_bytes=grown))
    else:
        findings.append(SIZE.passed(f"{grown:+d} bytes compared with the start script", added_bytes=grown))
    return tuple(findings)


def _content(submission: Sequence[SourceFile], baseline: Sequence[SourceFile]) -> list[tuple[str, Signal]]:
    """Return a signal if the files add too much content, however it is spread over names or pieces."""
    grown = _compressed(submission) - _compressed(baseline)
    if grown <= MAX_CONTENT:
        return []
    text = f"at least {grown >> 10} KiB of added content when compressed"
    return [("the submission", Signal(SourceRule.BLOB, text, 0))]


def _compressed(files: Sequence[SourceFile]) -> int:
    return sum(len(zlib.compress(f.data, 9)) for f in files)


def _finding(check: Check, added: list[tuple[str, Signal]]) -> Finding:
    if not added:
        return check.passed("nothing was added")
    shown = LISTED if check is CHECKS[SourceRule.ALLOWED] else SHOWN
    places: list[str] = []
    left = MAX_DETAIL
    for name, signal in added[:shown]:
        place = _format_place(name, signal)
        left -= len(place) + 2
        if left < 0:
            break
        places.append(place)
    more = f"; and {len(added) - len(places)} more" if len(added) > len(places) else ""
    change = "changed" if check is CHECKS[SourceRule.TIMER] else "added"
    return check.failed(f"{change}: {'; '.join(places)}{more}", added=len(added))


def _format_place(name: str, signal: Signal) -> str:
    """Format file, line and description; signals of a whole file have no line and may begin with its name."""
    description = ascii(signal.description)[1:-1][:MAX_PLACE]
    if signal.line:
        return f"{name}:{signal.line}: {description}"
    return description if description.startswith(f"{name} ") else f"{name}: {description}"


def _added(before: list[tuple[str, Signal]], after: list[tuple[str, Signal]]) -> list[tuple[str, Signal]]:
    """Return the signals that the submission adds, and the timers that it removes."""
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
    added += [("removed", Signal(rule, f"{n} x {description}", 0)) for (rule, description), n in lost.items()]
    return sorted(added, key=lambda item: (item[0], item[1].line, item[1].description))
