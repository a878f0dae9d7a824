"""Run a coroutine that ends when its caller is cancelled or out of time, also under a running event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

POLL_S = 0.1
"""Longest time in seconds until a cancellation is noticed."""


class RequestCancelled(Exception):
    """The caller was cancelled before the work ended."""


def run_interruptibly(
    work: Callable[[], Coroutine[Any, Any, T]], limit_s: float, cancelled: Callable[[], bool]
) -> T:
    """
    Return the result of `work()`, run in an event loop of its own in a second thread.

    Raises `RequestCancelled` once `cancelled()` is true, `TimeoutError` after `limit_s` seconds, and what the
    work raises. The work is cancelled and has ended before this function returns or raises, also for an
    interrupt of the calling thread.
    """
    stop = threading.Event()
    ended: concurrent.futures.Future[T] = concurrent.futures.Future()

    def body() -> None:
        try:
            ended.set_result(asyncio.run(_stoppable(work(), stop, limit_s)))
        except BaseException as e:
            ended.set_exception(e)

    thread = threading.Thread(target=body, name="model call", daemon=True)
    thread.start()
    try:
        while not ended.done():
            if cancelled():
                stop.set()
            concurrent.futures.wait((ended,), POLL_S)
    finally:
        stop.set()
        thread.join()
    return ended.result()


async def _stoppable(work: Coroutine[Any, Any, T], stop: threading.Event, limit_s: float) -> T:
    task = asyncio.ensure_future(work)
    end = asyncio.get_running_loop().time() + limit_s
    while True:
        left_s = end - asyncio.get_running_loop().time()
        done, _ = await asyncio.wait((task,), timeout=max(0.0, min(POLL_S, left_s)))
        if done:
            return task.result()
        if stop.is_set() or left_s <= 0:
            task.cancel()
            await asyncio.wait((task,))
            if not task.cancelled() and task.exception() is None:
                return task.result()
            raise RequestCancelled if stop.is_set() else TimeoutError
