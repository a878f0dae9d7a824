"""The doctor tries what runs need of a file system, and names what fails."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import time

import pytest
from system_errors import failing

from kit.core.store import Store
from kit.diagnose import storage
from kit.diagnose.doctor import Health, _disk
from kit.diagnose.storage import try_storage


@pytest.fixture(autouse=True)
def large_disk(monkeypatch, tmp_path):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type(usage)(10**12, 0, 10**12))


def test_an_ordinary_file_system_has_no_finding(tmp_path):
    assert list(try_storage(tmp_path)) == [] and list(tmp_path.iterdir()) == []
    assert _disk(Store(tmp_path), fix=False).health is Health.OK


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS])
def test_a_file_system_without_locks_is_named_and_used(code, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", failing(code))
    found = _disk(Store(tmp_path), fix=False)
    assert found.health is Health.OK and "the file system has no locks" in found.detail


@pytest.mark.parametrize("code", [errno.EIO, errno.EINVAL, errno.EPERM])
def test_locks_that_fail_are_a_broken_store(code, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", failing(code))
    found = _disk(Store(tmp_path), fix=False)
    assert found.health is Health.BROKEN and "has no working locks" in found.detail and "--store" in found.fix
    assert str(tmp_path) in found.detail


def test_locks_that_exclude_nobody_are_a_broken_store(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda fd, operation: None)
    found = _disk(Store(tmp_path), fix=False)
    assert found.health is Health.BROKEN and "two processes got the same lock" in found.detail


def test_a_file_system_without_hard_links_is_named_and_used(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    found = _disk(Store(tmp_path), fix=False)
    assert found.health is Health.OK and "has no hard links, so files are copied" in found.detail


def test_a_mount_without_programs_is_a_broken_store(tmp_path, monkeypatch):
    def run(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(subprocess, "run", run)
    found = _disk(Store(tmp_path), fix=False)
    assert found.health is Health.BROKEN and "noexec" in found.detail and "--store" in found.fix


def test_modes_that_do_not_stay_are_a_broken_store(tmp_path, monkeypatch):
    monkeypatch.setattr(type(tmp_path), "chmod", lambda self, mode: None)
    monkeypatch.setattr(storage, "_try_program", lambda folder: None)
    found = _disk(Store(tmp_path), fix=False)
    assert found.health is Health.BROKEN and "does not keep modes: 0700, 0600" in found.detail


def test_the_trial_of_modes_leaves_the_umask_alone(tmp_path):
    before = os.umask(0o077)
    try:
        assert list(try_storage(tmp_path)) == []
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)


def test_a_clock_before_this_version_is_named_with_its_date(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 86_400.0)
    found = _disk(Store(tmp_path), fix=False)
    assert found.health is Health.BROKEN and "says 1970-01-02" in found.detail and "clock" in found.fix


def test_a_file_server_with_another_clock_is_named(tmp_path, monkeypatch):
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    assert re.search(r"differs by -3[56]\d\d s", _disk(Store(tmp_path), fix=False).detail)


def test_a_slow_disk_is_no_other_clock(tmp_path, monkeypatch):
    real, passed = time.time, iter((-60, 0))
    monkeypatch.setattr(time, "time", lambda: real() + next(passed, 0))
    assert storage._try_clock(tmp_path) is None


def test_a_temp_directory_that_cannot_be_used_is_named(tmp_path, monkeypatch):
    (tmp_path / "store").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    found = _disk(Store(tmp_path / "store"), fix=False)
    assert (
        found.health is Health.BROKEN
        and "test of the directory for temporary files failed: No such" in found.detail
    )
    assert found.fix.startswith("set TMPDIR")
