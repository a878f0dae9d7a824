"""Turn Ctrl-C and SIGTERM into a flag that the library polls while a guest runs."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def cancellable() -> Iterator[Callable[[], bool]]:
    """
    Yield a function that tells whether Ctrl-C, SIGTERM or SIGHUP came; the run still ends in a record.

    A SIGHUP that is ignored stays ignored, so that under `nohup` a run outlives its terminal.
    """
    caught: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        caught.append(number)

    heard = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        heard.append(signal.SIGHUP)
    before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield lambda: bool(caught)
    finally:
        for number, old in before.items():
            signal.signal(number, old)
