"""
`source.*`: what a submission adds to its start script, by the rules of the task. Reads trees, runs nothing.

Every rule counts signals (`kit.audit.signals`) in both scripts; only what the submission has more of is held
against it. So a start script that calls `nvidia-smi` may go on doing so, and moved code is no finding.
"""

from __future__ import annotations

import io
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kit.audit.check import Check
from kit.audit.finding import Finding, Severity
from kit.audit.patterns import VALIDATION
from kit.audit.signals import Signal, SourceRule, parse, signals

RUN_TOML = "run.toml"
MAX_FILE = 64 << 10
"""Bytes of a file that is not Python; kernels in CUDA or C++ take a few thousand."""
MAX_ADDED = 64 << 10
"""Bytes by which a submission may outgrow its start script before a person should look: records add 16 K."""
SHOWN = 4

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
        SourceRule.BLOB, F, "long literals, long tables, files that are not text",
        "a blob in many short pieces",
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
}  # fmt: skip
PARSE = _check(
    "parse", F, "files that Python 3.11 cannot read, or reads in another encoding; an unreadable run.toml", ""
)
SIZE = _check("size", W, "a submission that outgrows its start script by more than 64 KiB", "what it is")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a script."""

    name: str
    data: bytes


def judge(submission: Sequence[SourceFile], baseline: Sequence[SourceFile] | None) -> tuple[Finding, ...]:
    """
    Compare a submission with its start script; every check is skipped if that is not at hand (None).

    A file that cannot be read as Python fails `source.parse`, and what it does is not looked at.
    """
    if baseline is None:
        return tuple(c.skipped("the start script is not at hand") for c in (PARSE, *CHECKS.values(), SIZE))
    before, _ = _signals(baseline)
    after, faults = _signals(submission)
    added = _added(before, after)
    grown = sum(len(f.data) for f in submission) - sum(len(f.data) for f in baseline)
    findings = [PARSE.failed("; ".join(faults[:SHOWN])) if faults else PARSE.passed("every file can be read")]
    findings += [_finding(CHECKS[rule], [s for s in added if s[1].rule is rule]) for rule in CHECKS]
    if grown > MAX_ADDED:
        findings.append(SIZE.failed(f"{grown} bytes more than the start script", added_bytes=grown))
    else:
        findings.append(SIZE.passed(f"{grown:+d} bytes against the start script", added_bytes=grown))
    return tuple(findings)


def _finding(check: Check, added: list[tuple[str, Signal]]) -> Finding:
    if not added:
        return check.passed("the submission adds none")
    places = [f"{name}:{s.line}: {s.description}" for name, s in added[:SHOWN]]
    more = f"; and {len(added) - SHOWN} more" if len(added) > SHOWN else ""
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


def _signals(files: Sequence[SourceFile]) -> tuple[list[tuple[str, Signal]], list[str]]:
    named_signals: list[tuple[str, Signal]] = []
    faults: list[str] = []
    for file in files:
        try:
            named_signals += [(file.name, s) for s in _of_file(file)]
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            faults.append(f"{file.name}: {type(e).__name__}: {str(e)[:120]}")
    return named_signals, faults


def _of_file(file: SourceFile) -> Iterator[Signal]:
    if file.name.endswith(".py"):
        yield from signals(parse(_text_of(file.data)))
    elif file.name == RUN_TOML:
        yield from _arguments(file.data)
    elif len(file.data) > MAX_FILE or b"\0" in file.data or not _is_text(file.data):
        yield Signal(SourceRule.BLOB, f"{file.name}, {len(file.data)} bytes that are not text or too many", 0)


def _text_of(data: bytes) -> str:
    """Decode a script; one that Python reads in another encoding is another script than what is seen here."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    if encoding not in ("utf-8", "utf-8-sig"):
        raise ValueError(f"it declares the encoding {encoding!r}")
    return data.decode(encoding)


def _arguments(data: bytes) -> Iterator[Signal]:
    """Read the script's arguments for other data and another validation."""
    args = [str(a) for a in tomllib.loads(data.decode("utf-8")).get("args", ())]
    for name, value in zip(args, (*args[1:], ""), strict=False):
        key = name.lstrip("-").replace("-", "_").lower().split("=")[0]
        about_data = VALIDATION.fullmatch(key) or key in ("input_bin", "train_files", "train_bin")
        if name.startswith("-") and about_data:
            yield Signal(SourceRule.DATA, f"{name} {value}", 0)


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
