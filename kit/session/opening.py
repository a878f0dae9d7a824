"""
Begin a session in a directory, open it again, and end it.

The directory is that of a run of an agent: spec, journal, nodes, bundles and the signed summary. A session
adds `workspace/` and `tries/`.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from kit.agent.budget import Budget
from kit.agent.events import Decided
from kit.agent.horizon import HORIZON, Horizon
from kit.agent.journal import JOURNAL, JournalInUse, writer_of
from kit.agent.own_run import own_parts, own_spec
from kit.agent.own_task import OwnTask
from kit.agent.policy import SESSION, Policy
from kit.agent.recorded import BUNDLES
from kit.agent.search import SPEC, SearchParts, end_run, open_ledger
from kit.agent.spec import AgentSpec, read_spec, write_spec
from kit.agent.summary import write_summary
from kit.core.errors import IntegrityError, PrerequisiteError, UsageError
from kit.core.files import disk_errors, make_folder
from kit.core.text import in_shell
from kit.evaluate.request import Overrides, Places, Request
from kit.result.keys import load_or_create
from kit.session.guests import SessionGuests
from kit.session.host_paths import HostPaths
from kit.session.ledger import SessionLedger
from kit.session.session import AgentSession, Turn
from kit.session.trials import TrialRunner
from kit.session.workspace import WORKSPACE, Workspace

DEADLINES = "deadlines"
"""The key of a spec's model profile that holds deadlines in seconds."""
BUDGET_KEYS = ("gpu-hours", "wall", "evaluations")
"""What the budget of a session can limit, as `parse_budget` names it."""
MAX_NODES = 10_000
MAX_AGENT = 200
"""Characters of an agent's name."""
AGAIN = "restore it from a copy, or begin another session: speedrun session new"
PAUSE_S = 0.1
"""Between two attempts to open a session that another process has open."""


@dataclass(frozen=True, slots=True)
class SessionParts:
    """What a session works with."""

    task: OwnTask
    trials: TrialRunner
    turn: Turn = lambda cancelled: contextlib.nullcontext()
    cancelled: Callable[[], bool] = lambda: False
    now: Callable[[], str] | None = None
    """The time as ISO 8601; None: the machine's."""
    private: tuple[Path, ...] = ()
    """Directories of the host whose paths no agent may read, besides the session's own."""


@dataclass(frozen=True, slots=True)
class SessionRun:
    """A session's directory, with what evaluates in it: enough to time its winner again."""

    folder: Path
    spec: AgentSpec
    evaluation: Request
    places: Places


def session_spec(
    task: OwnTask, agent: str, budget: Budget, horizon: Horizon | None, overrides: Overrides
) -> AgentSpec:
    """
    Return the spec of a new session.

    Raises `UsageError` for an invalid name of the agent, and for a budget that counts what no session has, or
    that limits nothing.
    """
    if budget != Budget(evaluations=budget.evaluations, gpu_seconds=budget.gpu_seconds, wall_s=budget.wall_s):
        raise UsageError(
            f"a session counts only {', '.join(BUDGET_KEYS)}: the agent makes its own calls",
            "limit these, for example: --budget gpu-hours=160,wall=24h",
        )
    if not 0 < len(agent) <= MAX_AGENT or not agent.isprintable():
        raise UsageError(
            f"invalid agent {agent[:MAX_AGENT]!r}: its name has 1 to {MAX_AGENT} printable characters",
            "for example: --agent claude-code-2.1",
        )
    if budget == Budget():
        raise UsageError("the budget is missing", "for example: --budget gpu-hours=160,wall=24h")
    if not task.settings.gpus and budget == Budget(gpu_seconds=budget.gpu_seconds):
        raise UsageError(
            "gpu-hours limits nothing here: this session has no GPUs", "pass wall= or evaluations="
        )
    choices: dict[str, Any] = {name: value for name, value in asdict(overrides).items() if value is not None}
    choices = {DEADLINES: choices} if choices else {}
    if horizon is not None:
        choices[HORIZON] = horizon.document()
    return own_spec(task, agent, Policy(SESSION, 1, 0, 0.0, 0, MAX_NODES), budget, 0, choices)


def stored_overrides(spec: AgentSpec) -> Overrides:
    """Return the deadlines that the session was begun with."""
    document = dict(spec.model.profile).get(DEADLINES, {})
    try:
        return Overrides(**{str(name): float(value) for name, value in document.items()})
    except (AttributeError, TypeError, ValueError) as e:
        raise IntegrityError("the spec has invalid deadlines") from e


def new_session(folder: Path, spec: AgentSpec, parts: SessionParts) -> None:
    """
    Begin a session in the directory `folder`, which is created, and write the start script as workspace.

    Raises `UsageError` if the directory is not empty.
    """
    make_folder(folder)
    with disk_errors(folder):
        if any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty", "pass another directory with --out")
    write_spec(folder / SPEC, spec)
    Workspace(folder / WORKSPACE).fill(dict(parts.task.start))
    with _open(folder, parts, 0.0):
        pass


@contextmanager
def open_session(folder: Path, parts: SessionParts, wait_s: float = 0.0) -> Iterator[AgentSession]:
    """
    Open a session for writing, and close what an earlier process left open.

    Waits at most `wait_s` seconds for another process that has it open: one process writes the journal.
    Raises `PrerequisiteError` for a directory without a session, `UsageError` if another process serves it,
    and `IntegrityError` for a missing or changed journal, or another start script.
    """
    read_session_spec(folder)
    journal = folder / JOURNAL
    if not os.path.lexists(journal) or (journal.is_file() and journal.stat().st_size == 0):
        # A new journal would give the whole budget again.
        raise IntegrityError(
            f"{folder} has no journal of its session: {JOURNAL} is missing or empty",
            AGAIN,
        )
    with _open(folder, parts, wait_s) as session:
        yield session


@contextmanager
def _open(folder: Path, parts: SessionParts, wait_s: float) -> Iterator[AgentSession]:
    folder = folder.absolute()  # a relative path in a message could not be told from other words
    spec = read_session_spec(folder)
    made = own_parts(folder, parts.task)
    stop = threading.Event()
    made = replace(
        made, cancelled=lambda: stop.is_set() or parts.cancelled(), now=parts.now or steady(made.now)
    )
    workspace = Workspace(folder / WORKSPACE)
    with contextlib.ExitStack() as held:
        ledger = _opened_ledger(folder, spec, made, wait_s, held)
        ledger.now = made.now
        guests = SessionGuests(ledger, parts.task, made.steps, parts.trials)
        if ledger.tree.ended is None:
            if ledger.tree.decisions == 0:
                ledger.write(Decided(0, ()))
            guests.close_open()
            workspace.remove_unfinished()
        paths = HostPaths(folder, parts.private)
        yield AgentSession(ledger, parts.task, workspace, guests, parts.turn, stop, paths)


def steady(now: Callable[[], str]) -> Callable[[], str]:
    """Return a clock that begins at `now` and goes on evenly if the machine's time of day is set."""
    began, start = datetime.fromisoformat(now()), time.monotonic()
    return lambda: (began + timedelta(seconds=time.monotonic() - start)).isoformat()


def _opened_ledger(
    folder: Path, spec: AgentSpec, parts: SearchParts, wait_s: float, held: contextlib.ExitStack
) -> SessionLedger:
    until = time.monotonic() + wait_s
    while True:
        try:
            return held.enter_context(open_ledger(folder, spec, parts, SessionLedger))
        except JournalInUse as e:
            if time.monotonic() >= until or parts.cancelled():
                raise UsageError(
                    f"{folder} is in use by {writer_of(folder)}: a server, or a command of this session",
                    "use the tools of that server, or stop it with Ctrl-C; this works beside it: "
                    f"speedrun session show {in_shell(folder)}",
                ) from e
        except UsageError as e:  # the spec was read from this directory: the journal has another one
            raise IntegrityError(f"{folder / SPEC} was changed: {e.headline}", AGAIN) from e
        time.sleep(PAUSE_S)


def read_session_spec(folder: Path) -> AgentSpec:
    """Return the spec of a session. Raises `PrerequisiteError` for a directory without one."""
    path = folder / SPEC
    if not path.is_file():
        raise PrerequisiteError(f"{folder} contains no session", "begin one: speedrun session new")
    spec = read_spec(path)
    if spec.policy.name != SESSION:
        raise PrerequisiteError(
            f"{folder} is the run of a scaffold, not a session", "see: speedrun agent show"
        )
    return spec


def session_run(folder: Path, spec: AgentSpec, request: Request, places: Places) -> SessionRun:
    """Return what times the winner of a session again."""
    return SessionRun(folder, spec, request, replace(places, out=(folder / BUNDLES).absolute()))


def end_session(folder: Path, parts: SessionParts) -> int | None:
    """Write the end of a session, unless it has ended; return the fastest valid evaluation, if any."""
    with open_session(folder, parts) as session:
        if session.ledger.tree.ended is None:
            end_run(session.ledger)
        ended = session.ledger.tree.ended
        return None if ended is None else ended.winner


def sign_session(folder: Path, keys: Path) -> Path:
    """Sign the summary of a session; return its path."""
    return write_summary(folder, load_or_create(keys))
