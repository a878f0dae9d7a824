"""What a person sends to a command while a guest runs raises a flag, and nothing else does."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from kit.cli.interrupt import cancellable


@pytest.fixture(params=[signal.SIG_DFL, signal.SIG_IGN], ids=["heard", "ignored"])
def hangup(request: pytest.FixtureRequest) -> Iterator[signal.Handlers]:
    before = signal.signal(signal.SIGHUP, request.param)
    yield request.param
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_raises_the_flag(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with cancellable() as cancelled:
        assert not cancelled()
        os.kill(os.getpid(), number)
        assert cancelled()
    assert signal.getsignal(number) is before


def test_a_terminal_that_closes_cancels_unless_nohup_was_asked_for(hangup: signal.Handlers) -> None:
    with cancellable() as cancelled:
        os.kill(os.getpid(), signal.SIGHUP)
        assert cancelled() is (hangup is signal.SIG_DFL)
    assert signal.getsignal(signal.SIGHUP) is hangup


def test_ctrl_z_stops_nothing() -> None:
    before = signal.getsignal(signal.SIGTSTP)
    with cancellable() as cancelled:
        assert callable(signal.getsignal(signal.SIGTSTP))
        os.kill(os.getpid(), signal.SIGTSTP)
        assert not cancelled()
    assert signal.getsignal(signal.SIGTSTP) is before
