from __future__ import annotations

import errno
import os

import pytest

from kit.core.errors import RunError
from kit.sandbox.runtime import runc
from kit.sandbox.runtime.runc import state_folder
from kit.sandbox.runtime.state import make_private


def test_the_state_folder_is_made_for_its_user_alone(tmp_path):
    make_private(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    make_private(tmp_path / "a" / "b")


def test_a_prepared_link_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "a").symlink_to(tmp_path / "real")
    with pytest.raises(RunError, match="not a directory owned by this user"):
        make_private(tmp_path / "a" / "b")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_users_folder_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    os.chown(tmp_path / "a", 12345, 12345)
    with pytest.raises(RunError, match="not a directory owned by this user"):
        make_private(tmp_path / "a" / "b")


def test_two_users_never_share_a_state_folder(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 5001)
    mine = state_folder()
    monkeypatch.setattr(os, "geteuid", lambda: 5002)
    assert state_folder() != mine


def test_a_full_process_table_is_a_reason_to_reap_again(program, tmp_path, monkeypatch):
    program("runc", "exit 0")
    (tmp_path / "run").mkdir()

    def full(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(runc.subprocess, "run", full)
    assert not runc.reap(tmp_path, "run")
