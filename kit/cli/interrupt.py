"""While a guest runs, let Ctrl-C and SIGTERM raise a flag that is polled, and let stderr delay nothing."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from kit.cli.stderr import STDERR


@contextlib.contextmanager
def cancellable() -> Iterator[Callable[[], bool]]:
    """
    Yield a function that tells whether Ctrl-C, SIGTERM or SIGHUP came; the run still ends in a record.

    A SIGHUP that is ignored stays ignored, so that under `nohup` a run outlives its terminal. Ctrl-Z has no
    effect: it would stop the clocks of a guest, and not the guest.
    """
    caught: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        caught.append(number)

    actions = {signal.SIGINT: handler, signal.SIGTERM: handler}
    if hasattr(signal, "SIGHUP"):  # Windows has neither
        actions[signal.SIGTSTP] = _go_on
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            actions[signal.SIGHUP] = handler
    with STDERR.unhindered():
        before = {number: signal.signal(number, action) for number, action in actions.items()}
        try:
            yield lambda: bool(caught)
        finally:
            for number, old in before.items():
                signal.signal(number, old)


def _go_on(number: int, frame: FrameType | None) -> None:
    """Do nothing. `SIG_IGN` would do so, too, but programs that are started would inherit it."""
