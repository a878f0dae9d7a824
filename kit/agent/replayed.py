"""
Repeat a recorded run offline, from its calls, evaluations and times (`replay`).

The search is run again in an empty directory: prompts, edits, checks and decisions are made anew. Calls and
evaluations come from the record, and the clock gives the recorded times, so the journal must have the same
bytes. Where the recorded process ended, the repeated one ends too, and is resumed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kit.agent.calls import CALLS, CallFolder, CallRecords, outcome_sha256, request_sha256
from kit.agent.evaluator import EvaluatedRun
from kit.agent.events import CallEnded, CallLost, EvaluationEnded, EvaluationReserved, Event, Resumed, Retimed
from kit.agent.journal import JOURNAL, JournalLine, open_journal, read_journal
from kit.agent.llm.replay import ReplayTransport
from kit.agent.llm.wire import CallKey, CallOutcome, ChatRequest, Transport
from kit.agent.nodefiles import NodeFiles
from kit.agent.search import search
from kit.agent.session import AgentRun, RunHooks
from kit.core.errors import IntegrityError, KitError
from kit.core.text import one_line

_SHOWN = 300


class _ProcessEnded(Exception):
    """The recorded process went no further than this."""


class _Record:
    """The recorded journal, and how far its repetition has come."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.lines: tuple[JournalLine, ...] = read_journal(run / JOURNAL).lines
        self.done = 0
        self._resuming = False

    @property
    def next(self) -> Event | None:
        """The event that the recorded journal has next."""
        return self.lines[self.done].event if self.done < len(self.lines) else None

    @property
    def process_ended(self) -> bool:
        """Tell whether the recorded process wrote no further line."""
        return self.next is None or (isinstance(self.next, Resumed) and not self._resuming)

    def begin(self) -> None:
        """Begin a process, which may write a `Resumed` first."""
        self._resuming = True

    def now(self) -> str:
        """Return the time of the next line."""
        self.stop_if_ended()
        self._resuming = False
        self.done += 1
        return self.lines[self.done - 1].time

    def stop_if_ended(self) -> None:
        """Raise `_ProcessEnded` where the recorded process ended."""
        if self.process_ended:
            raise _ProcessEnded


class _Calls:
    """Recorded calls; ends where the recorded process ended during a call."""

    def __init__(self, record: _Record) -> None:
        self._record, self._inner = record, ReplayTransport(record.run / CALLS)
        self._folder = CallFolder(record.run)

    def call(
        self, request: ChatRequest, key: CallKey, wall_left_s: float, cancelled: Callable[[], bool]
    ) -> CallOutcome:
        self._record.stop_if_ended()
        ended = self._record.next
        for earlier in self._folder.replaced(key) if isinstance(ended, CallEnded) else ():
            same = request_sha256(earlier.request) == request_sha256(request)
            if (
                same
                and isinstance(ended, CallEnded)
                and outcome_sha256(earlier.outcome) == ended.outcome_sha256
            ):
                return earlier.outcome
        return self._inner.call(request, key, wall_left_s, cancelled)


class _Records:
    """Writes the records of the repeated run; reads those of the recorded one, except of lost calls."""

    def __init__(self, record: _Record, folder: Path) -> None:
        self._record = record
        self._old, self._new = CallFolder(record.run), CallFolder(folder)

    def save(self, key: CallKey, request: ChatRequest, outcome: CallOutcome) -> CallOutcome:
        return self._new.save(key, request, outcome)

    def load(self, key: CallKey, request_sha256: str) -> CallOutcome | None:
        if isinstance(self._record.next, CallLost):
            return None
        return self._old.load(key, request_sha256)


class _Evaluations:
    """Recorded evaluations."""

    def __init__(self, record: _Record) -> None:
        self._record = record

    def evaluate(
        self, submission: Path, reserved: Callable[[str], None], cancelled: Callable[[], bool]
    ) -> EvaluatedRun:
        expected = self._record.next
        if not isinstance(expected, EvaluationReserved):
            self._record.stop_if_ended()
            raise IntegrityError("the recorded run has no evaluation here")
        reserved(expected.run_id)
        run = self._recorded()
        if run is None:
            self._record.stop_if_ended()
            raise IntegrityError(f"evaluation {expected.run_id} has no end in the recorded run")
        return run

    def close(self, run_id: str) -> EvaluatedRun | None:
        return self._recorded()

    def _recorded(self) -> EvaluatedRun | None:
        event = self._record.next
        if not isinstance(event, EvaluationEnded):
            return None
        return NodeFiles(self._record.run, event.node).read_evaluated(event.outcome)


def replay(recorded: AgentRun, folder: Path) -> str:
    """
    Run `recorded` again in the empty directory `folder`; return the digest of the last line, which is equal.

    Raises `IntegrityError` that names the first line which differs, or the call that was not recorded.
    """
    record = _Record(recorded.folder)
    repeated = replace(recorded, folder=folder)
    hooks = RunHooks(now=record.now)
    parts = repeated.parts(_transport(record), _Evaluations(record), hooks)
    records: CallRecords = _Records(record, folder)
    parts = replace(parts, steps=replace(parts.steps, records=records))
    while record.next is not None:
        before = record.done
        _write_torn(record, folder)
        record.begin()
        try:
            search(folder, repeated.spec, parts)
        except _ProcessEnded:
            pass
        except KitError:
            _compare(recorded.folder, folder)
            if not record.process_ended:
                raise
        while isinstance(event := record.next, Retimed):
            with open_journal(folder, record.now)[0] as journal:
                journal.append(event)
        if record.done == before:
            break
    _compare(recorded.folder, folder)
    return _require_equal(recorded.folder, folder)


def _transport(record: _Record) -> Transport:
    return _Calls(record)


def _write_torn(record: _Record, folder: Path) -> None:
    """Write as many bytes of an incomplete line as the recorded process left."""
    event = record.next
    if isinstance(event, Resumed) and event.cut_bytes:
        with (folder / JOURNAL).open("ab") as f:
            f.write(b"?" * event.cut_bytes)


def _lines(run: Path) -> list[bytes]:
    path = run / JOURNAL
    return path.read_bytes().split(b"\n")[:-1] if path.is_file() else []


def _compare(recorded: Path, repeated: Path) -> None:
    """Raise `IntegrityError` for the first repeated line that differs."""
    pairs = zip(_lines(recorded), _lines(repeated), strict=False)
    for number, (one, other) in enumerate(pairs, start=1):
        if one != other:
            raise IntegrityError(
                f"line {number} of the journal differs in the replay",
                "replay a run with the version of the kit that made it",
                (f"recorded: {_shown(one, other)}", f"replayed: {_shown(other, one)}"),
            )


def _require_equal(recorded: Path, repeated: Path) -> str:
    one, other = _lines(recorded), _lines(repeated)
    if one != other:
        raise IntegrityError(
            f"line {len(other) + 1} of the journal differs in the replay: "
            f"the recorded run has {len(one)} lines, and the replay ends after {len(other)}",
            "replay a run with the version of the kit that made it",
        )
    return read_journal(repeated / JOURNAL).head


def _shown(line: bytes, other: bytes) -> str:
    """Return the part of a line from a little before the first byte that differs."""
    same = next((i for i, (a, b) in enumerate(zip(line, other, strict=False)) if a != b), 0)
    return one_line(line[max(0, same - 40) : same + _SHOWN].decode("utf-8", "replace"), _SHOWN)
