"""File systems whose locks fail, and file systems without hard links."""

from __future__ import annotations

import errno
import fcntl
import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from system_errors import failing

from kit.core.errors import PrerequisiteError
from kit.core.files import link_or_copy
from kit.core.locks import acquire
from kit.core.store import Store
from kit.data.memo import Memo
from kit.result.keys import load_or_create


@pytest.fixture(params=[errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS], ids=errno.errorcode.get)
def no_links(request, monkeypatch):
    monkeypatch.setattr(os, "link", failing(request.param))


@pytest.mark.parametrize(
    "code", [errno.EIO, errno.EINVAL, errno.EPERM, errno.EACCES], ids=errno.errorcode.get
)
def test_a_lock_that_fails_names_the_directory_and_what_to_do(code, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", failing(code))
    with pytest.raises(PrerequisiteError, match="has no working locks") as e, Store(tmp_path).lock("x"):
        pass
    assert str(tmp_path / "locks") in e.value.message and "--store" in e.value.hint
    with pytest.raises(PrerequisiteError):
        acquire(tmp_path / "file")


def test_without_hard_links_a_file_is_copied_and_never_overwritten(tmp_path, no_links):
    (tmp_path / "file").write_text("x")
    (tmp_path / "file").chmod(0o444)
    assert link_or_copy(tmp_path / "file", tmp_path / "copy") is False
    assert (tmp_path / "copy").read_text() == "x" and (tmp_path / "copy").stat().st_mode & 0o777 == 0o444
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        link_or_copy(tmp_path / "file", tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


def test_without_hard_links_a_shard_is_copied(tmp_path, no_links):
    store = Store(tmp_path / "store")
    blob = store.blob(store.put(b"shard"))
    Memo(store).link(blob, tmp_path / "shard")
    assert (tmp_path / "shard").read_bytes() == b"shard"


def test_without_hard_links_concurrent_first_uses_make_one_key(tmp_path, no_links):
    with ThreadPoolExecutor(8) as pool:
        signers = list(pool.map(lambda _: load_or_create(tmp_path / "keys"), range(8)))
    assert len({signer.public.key_id for signer in signers}) == 1
    assert not list((tmp_path / "keys").glob(".own.*"))
