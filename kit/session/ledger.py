"""The journal of a session in progress: written by several threads, and budgets that refuse single calls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from kit.agent.budget import Amounts, Spent, check, wall_left_s
from kit.agent.events import Event
from kit.agent.journal import JournalLine
from kit.agent.ledger import Interrupted, Ledger
from kit.agent.tool_events import CallRefused, ToolCalled, TryEnded, TryLost, TryReserved
from kit.session.budget_text import refusal_text
from kit.session.tools import ToolRefusal


class SessionLedger(Ledger):
    """A ledger in which a call that the budget cannot hold is refused, and the session goes on."""

    guest_call = 0
    """The call whose guest may start; one guest runs at a time."""
    calls = 0
    """Tool calls so far."""
    now: Callable[[], str]

    def __init__(self, *arguments: Any) -> None:
        self._writing = threading.RLock()
        self._last = ""
        self.tries: dict[int, TryReserved] = {}
        self.ended_tries: dict[int, TryEnded | TryLost] = {}
        super().__init__(*arguments)

    def write(self, event: Event) -> Any:
        """Append an event; return it as a reader of the journal will read it."""
        with self._writing:
            return super().write(event)

    def proceed(self, worst: Amounts) -> None:
        """
        Return if a step that spends at most `worst` may start.

        Raises `Interrupted` if the server stops, and `ToolRefusal`, after writing `CallRefused`.
        """
        if self.cancelled():
            raise Interrupted
        with self._writing:
            stop = check(self.spec.budget, self.spent_now(), worst)
            if stop is None:
                return
            self.write(CallRefused(self.guest_call, stop.limit, stop.spent, stop.worst, stop.allowed))
        raise ToolRefusal(refusal_text(stop, worst))

    def spent_now(self) -> Spent:
        """Return what was spent, with the time since the last line."""
        with self._writing:
            spent, last = self.spent, self._last
        if self.tree.ended is not None:
            return spent
        passed = (datetime.fromisoformat(self.now()) - datetime.fromisoformat(last)).total_seconds()
        return replace(spent, known=spent.known + Amounts(wall_s=max(0.0, passed)))

    def wall_is_over(self) -> bool:
        """Tell whether the budget's wall time has ended by now."""
        return self.spec.budget.wall_s is not None and wall_left_s(self.spec.budget, self.spent_now()) <= 0

    def _fold(self, line: JournalLine) -> None:
        super()._fold(line)
        self._last = line.time
        match line.event:
            case ToolCalled():
                self.calls = line.event.call
            case TryReserved():
                self.tries[line.event.trial] = line.event
            case TryEnded() | TryLost():
                self.ended_tries[line.event.trial] = line.event
            case _:
                pass
