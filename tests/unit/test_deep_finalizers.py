"""A test that recurses to the limit is not charged for finalizers that the collector calls down there."""

from __future__ import annotations

import gc
import sys
import weakref

import pytest


class Cycle:
    """What only the collector frees."""

    def __init__(self) -> None:
        self.itself = self


def nest(outer: list[object]) -> None:
    nest([outer])


def work(levels: int, done: list[int]) -> None:
    """A finalizer that needs `levels` calls."""
    if levels:
        work(levels - 1, done)
    else:
        done.append(1)


def test_a_finalizer_without_room_fails_no_test() -> None:
    threshold = gc.get_threshold()
    without_room = 0
    try:
        for objects in range(1, sys.getrecursionlimit()):  # the collection falls on every depth once
            gc.disable()
            gc.collect(0)
            done: list[int] = []
            weakref.finalize(Cycle(), work, 20, done)
            gc.set_threshold(objects, 1_000, 1_000)
            gc.enable()
            with pytest.raises(RecursionError):
                nest([])
            gc.collect(0)
            without_room += not done
    finally:
        gc.set_threshold(*threshold)
        gc.enable()
    assert without_room
