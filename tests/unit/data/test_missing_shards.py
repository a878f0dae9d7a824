"""Shards that are not here, or not whole, are named with the command that brings them."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest
from local_server import SilentHandler, serving_http

from kit.core.errors import IntegrityError, NetworkError, PrerequisiteError
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.data.dataset import load_dataset, read_statement
from kit.data.fetch import fetch, find
from kit.data.shard import pack_header, read_tokens, write_shard

TOKENS = 9
NAMES = ("fineweb_train_000001.bin", "fineweb_train_000002.bin", "fineweb_val_000000.bin")


@pytest.fixture
def dataset(tmp_path):
    """FineWeb with shards of a few tokens, of which nothing is locked."""
    text = (facts_root() / "records" / "fineweb10B.toml").read_text()
    text = text.replace("100_000_000", str(TOKENS)).replace("200_001_024", str(1024 + 2 * TOKENS))
    (tmp_path / "fineweb10B.toml").write_text(text)
    return load_dataset(tmp_path)


@pytest.fixture
def store(tmp_path, dataset):
    """A store with all shards, each from a folder."""
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for n, name in enumerate(NAMES):
        (mirror / name).write_bytes(pack_header(TOKENS) + bytes([n, 0]) * TOKENS)
    found = Store(tmp_path / "store")
    fetch(dataset, NAMES, found, mirror=mirror)
    return found


def test_shards_that_are_not_in_the_store_any_more_are_counted_and_named(dataset, store):
    for file in find(dataset, NAMES, store).files[:2]:
        store.blob(file.sha256).unlink()
    said = rf"2 of 3 shards of fineweb10B are missing from the store \({NAMES[0]}, {NAMES[1]}\)"
    with pytest.raises(PrerequisiteError, match=said) as e:
        find(dataset, NAMES, store)
    assert e.value.hint == "speedrun data fetch --record N"


def test_a_folder_that_another_process_laid_out_meanwhile_stays_as_its_guest_reads_it(dataset, store):
    first = find(dataset, NAMES, store)
    shutil.rmtree(first.folder)

    class Slower(Store):
        """Of a process that gets the lock only after another one has laid the shards out."""

        @contextlib.contextmanager
        def lock(self, name):
            if name.startswith("data-"):
                find(dataset, NAMES, store)
                laid_out.append(first.folder.stat().st_ino)
            with super().lock(name):
                yield

    laid_out = []
    assert find(dataset, NAMES, Slower(store.root)) == first
    assert laid_out == [first.folder.stat().st_ino]


def test_a_statement_that_is_not_there_is_named_with_the_command_that_makes_it(dataset, tmp_path):
    with pytest.raises(PrerequisiteError, match=r"none\.json does not exist") as e:
        read_statement(tmp_path / "none.json", dataset)
    assert e.value.hint == "speedrun data fetch --record N"


class Shrinking(type(Path())):
    """A file that is truncated after its header was read."""

    opened = 0
    left = 1024 + 2 * 5

    def open(self, *a, **k):
        type(self).opened += 1
        if self.opened == 2:
            os.truncate(self, self.left)
        return super().open(*a, **k)


@pytest.mark.parametrize("left", [1024 + 2 * 5, 1024 + 2 * 5 + 1])
def test_a_shard_that_is_cut_short_while_it_is_read_is_named(tmp_path, monkeypatch, left):
    monkeypatch.setattr(Shrinking, "left", left)
    monkeypatch.setattr(Shrinking, "opened", 0)
    path = Shrinking(tmp_path / "shard.bin")
    write_shard(Path(path), range(TOKENS))
    path.chmod(0o644)
    with pytest.raises(IntegrityError, match=r"shard\.bin ended after 5 tokens while it was read") as e:
        read_tokens(path, 2)
    assert "again" in e.value.hint


def test_two_kits_that_lay_out_the_same_shards_leave_the_first_ones_folder_to_its_guest(
    dataset, store, monkeypatch
):
    monkeypatch.setattr(Store, "lock", _second_to_come(Store.lock, lambda: find(dataset, NAMES[:2], store)))
    folder = find(dataset, NAMES[:2], store).folder
    assert folder.stat().st_ino == _second_to_come.seen


def _second_to_come(lock, first):
    """Let another kit be done before this one gets the lock."""

    def late(self, name):
        Store.lock = lock
        _second_to_come.seen = first().folder.stat().st_ino
        return lock(self, name)

    return late


class Broken(SilentHandler):
    def do_GET(self):
        self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()


class Portal(Broken):
    """Answers everything, as the page of a network that wants a login does; `page` is what it says."""

    page = b""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.page)))
        self.end_headers()
        self.wfile.write(self.page)


@pytest.mark.parametrize("page", [b"<html>log in</html>", b"[]", b"{}", b"7"])
def test_what_is_no_hub_is_a_network_error_with_the_fix(dataset, monkeypatch, page):
    monkeypatch.setattr(Portal, "page", page)
    e = refused_by(Portal, dataset)
    assert "the endpoint answered, but not as the Hub does" in e.message and "--mirror" in e.hint


def test_a_hub_with_a_fault_of_its_own_is_asked_again_later(dataset):
    e = refused_by(Broken, dataset)
    assert "on the Hub: HTTP status 500" in e.message and e.hint == "run the command again later"


def refused_by(handler, dataset):
    pytest.importorskip("huggingface_hub")
    from kit.data.hub import Hub

    with serving_http(handler) as url, pytest.raises(NetworkError) as e:
        Hub(url).state(dataset, NAMES)
    return e.value
