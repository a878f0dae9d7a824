"""The progress of several pieces of work is one line, and one that fails ends the others."""

import pytest

from kit.core.errors import RunError
from kit.image.meter import ByteMeter


def test_pieces_add_up_to_no_more_than_the_whole():
    told = []
    work = ByteMeter("fetch tiny", 10, lambda label, done, total: told.append((label, done, total)))
    for label, done in (("a", 3), ("b", 4), ("a", 9)):
        work.part(label, done, 9)
    assert told == [("fetch tiny", 3, 10), ("fetch tiny", 7, 10), ("fetch tiny", 10, 10)]


def test_a_piece_ends_at_its_next_step_once_another_has_failed():
    work = ByteMeter("fetch tiny", 10, lambda *progress: pytest.fail("it went on"))
    work.stop()
    with pytest.raises(RunError, match="fetch tiny was stopped"):
        work.part("a", 1, 9)
