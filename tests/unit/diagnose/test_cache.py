"""`speedrun cache` and `speedrun image rm`: what lies in a store, and that nothing in use is removed."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
import time

import pytest

from kit.cli import run
from kit.core.digest import sha256_bytes
from kit.core.errors import PrerequisiteError, RunError
from kit.core.files import staged
from kit.core.store import FolderFetcher, Store
from kit.core.store_use import current_uses, using
from kit.data.shard import pack_header
from kit.diagnose.cache.image_removal import plan_image_removal, remove_image
from kit.diagnose.cache.inventory import CacheKind, take_inventory
from kit.diagnose.cache.removal import CacheSelection, freed_bytes, plan_removal, remove
from kit.image import build
from kit.image.lock import read_lock, write_lock
from kit.image.rootfs import ensure_rootfs
from kit.image.spec import read_spec

SHARD = pack_header(3) + b"\1\0" * 3
SCRIPT = b"# a script\n"
SCRIPTS = frozenset((sha256_bytes(SCRIPT),))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def layout(tiny, store):
    """The tiny image in the store, unpacked."""
    layout = build.accept("tiny", tiny.images, store, [FolderFetcher(tiny.mirror)])
    ensure_rootfs(layout, store)
    return layout


@pytest.fixture
def twin(tiny, store, layout):
    """An image with the same layers and another name, unpacked, too."""
    shutil.copytree(tiny.images / "tiny", tiny.images / "twin")
    toml = tiny.images / "twin" / "image.toml"
    toml.write_text(toml.read_text().replace('era = "tiny"', 'era = "twin"', 1))
    spec, lock = read_spec(tiny.images, "twin"), read_lock(read_spec(tiny.images, "tiny"))
    write_lock(spec, lock.debs, lock.wheels)
    twin = build.accept("twin", tiny.images, store, [])
    ensure_rootfs(twin, store)
    assert twin.diff_ids == layout.diff_ids and twin.manifest_digest != layout.manifest_digest
    return twin


@pytest.fixture
def filled(store, layout):
    """A store with an entry of every kind."""
    store.put(SCRIPT)
    digest = store.put(SHARD)
    shards = store.root / "data" / "shards-0123456789abcdef"
    shards.mkdir(parents=True)
    os.link(store.blob(digest), shards / "fineweb_val_000000.bin")
    for path, content in {
        "data/fineweb.hub.json": "{}",
        f"smoke/{'ab' * 32}/val.bin": "x",
        f"canary/{'cd' * 32}/stream.bin": "x",
        f"compile-cache/{'12' * 32}/manifest.json": "{}",
        "compile-cache/mine/notes.txt": "mine",
        "scripts/03-0123456789abcdef/train_gpt2.py": "x",
        "scripts/21c-0123456789abcdef/train_gpt2.py": "x",
        "scripts/smoke-3-0123456789abcdef/train_gpt2.py": "x",
        "scripts/my-script-0123456789abcdef/train.py": "mine",
        f"partial/{'ef' * 32}": "x",
        f"byte-code/{layout.manifest_digest}-0123456789abcdef/files/usr/a.pyc": "x",
        "byte-code/mine.pyc": "mine",
        "memo/sha256.json": "{}",
        "notes.txt": "mine",
        "canary/mine/thesis.tex": "mine",
        "data/mine.bin": "mine",
        "blobs/sha256/README": "mine",
    }.items():
        (store.root / path).parent.mkdir(parents=True, exist_ok=True)
        (store.root / path).write_text(content)
    return store


MINE = (
    "notes.txt",
    "canary/mine/thesis.tex",
    "data/mine.bin",
    "byte-code/mine.pyc",
    "compile-cache/mine/notes.txt",
    "scripts/my-script-0123456789abcdef/train.py",
    "blobs/sha256/README",
    "memo/sha256.json",
)


def inventory(store):
    return take_inventory(store, current_uses(store), SCRIPTS)


def names(store, kind):
    return {entry.name for entry in inventory(store).of_kind(kind)}


def everything(store):
    return {p.relative_to(store.root).as_posix() for p in store.root.rglob("*") if not p.is_dir()}


def test_every_entry_has_its_kind(filled, tiny, layout):
    lock = read_lock(tiny.spec)
    assert names(filled, CacheKind.DOWNLOADS) == {a.sha256 for a in lock.artifacts}
    documents = {layout.manifest_digest, layout.config_digest}
    assert names(filled, CacheKind.IMAGES) == documents | set(layout.diff_ids)
    byte_code = f"{layout.manifest_digest}-0123456789abcdef"
    assert names(filled, CacheKind.LAYERS) == {layout.manifest_digest, *layout.diff_ids, byte_code}
    assert names(filled, CacheKind.DATA) == {
        sha256_bytes(SHARD), "shards-0123456789abcdef", "fineweb.hub.json", "ab" * 32
    }  # fmt: skip
    assert names(filled, CacheKind.CANARY) == {"cd" * 32}
    assert names(filled, CacheKind.COMPILED) == {"12" * 32}
    scripts = {f"{name}-0123456789abcdef" for name in ("03", "21c", "smoke-3")}
    assert names(filled, CacheKind.SCRIPTS) == {sha256_bytes(SCRIPT), *scripts}
    assert names(filled, CacheKind.TEMPORARY) == {"ef" * 32}
    mine = {"notes.txt", "mine", "mine.bin", "mine.pyc", "README", "my-script-0123456789abcdef"}
    assert names(filled, CacheKind.OTHER) == mine


def test_blobs_of_an_image_whose_layout_is_gone_are_still_images(store, layout):
    shutil.rmtree(store.root / "layouts")
    assert set(layout.diff_ids) <= names(store, CacheKind.IMAGES)


def test_cleaning_all_leaves_what_the_kit_did_not_make(filled):
    done = remove(filled, CacheSelection(), SCRIPTS)
    left = {name for name in everything(filled) if not name.startswith("locks/")}
    assert left == set(MINE)
    assert done.freed > 1 << 20


def test_a_directory_that_is_no_store_is_empty(tmp_path):
    home = Store(tmp_path)
    for name in ("data/shards-0123456789abcdef/x", "scripts/03-0123456789abcdef/x", "canary/" + "a" * 64):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine")
    assert inventory(home).entries == ()
    assert plan_removal(inventory(home), CacheSelection()).removed == ()


def test_links_are_removed_and_not_followed(store, layout, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("mine")
    (store.root / "smoke").mkdir()
    (store.root / "smoke" / ("ab" * 32)).symlink_to(tmp_path / "elsewhere")
    remove(store, CacheSelection((CacheKind.DATA,)))
    assert not os.path.lexists(store.root / "smoke" / ("ab" * 32))
    assert (tmp_path / "elsewhere" / "file").exists()


def test_only_the_chosen_kinds_go_and_the_image_is_made_again(filled, tiny, layout):
    done = remove(filled, CacheSelection((CacheKind.IMAGES, CacheKind.LAYERS)), SCRIPTS)
    assert {entry.kind for entry in done.removed} == {CacheKind.IMAGES, CacheKind.LAYERS}
    assert names(filled, CacheKind.IMAGES) == set() and names(filled, CacheKind.DATA) != set()
    again = build.ensure_layout("tiny", tiny.images, filled, [])
    assert again == layout and ensure_rootfs(again, filled).is_dir()


def test_each_kind_can_go_alone_and_the_rest_still_works(filled, tiny, layout):
    for kind in CacheKind:
        if kind is not CacheKind.OTHER:
            remove(filled, CacheSelection((kind,)), SCRIPTS)
            assert names(filled, kind) == set(), kind
            again = build.ensure_layout("tiny", tiny.images, filled, [FolderFetcher(tiny.mirror)])
            assert again == layout and ensure_rootfs(again, filled).is_dir()


def test_only_what_was_last_used_before_goes(filled, layout):
    long_ago = time.time() - 90 * 86400
    os.utime(filled.root / "layouts" / layout.manifest_digest, (long_ago, long_ago))
    done = remove(filled, CacheSelection(used_before=time.time() - 30 * 86400), SCRIPTS)
    assert {entry.kind for entry in done.removed} == {CacheKind.IMAGES, CacheKind.LAYERS}
    assert names(filled, CacheKind.DOWNLOADS) != set()


def test_layers_that_a_younger_image_shares_are_not_old(store, layout, twin):
    long_ago = time.time() - 90 * 86400
    os.utime(store.root / "layouts" / layout.manifest_digest, (long_ago, long_ago))
    done = remove(store, CacheSelection(used_before=time.time() - 30 * 86400))
    assert {entry.name for entry in done.removed} == {layout.manifest_digest, layout.config_digest}
    assert ensure_rootfs(twin, store).is_dir()


def test_while_a_process_prepares_nothing_goes(filled):
    before = everything(filled)
    with using(filled):
        done = remove(filled, CacheSelection(), SCRIPTS)
        assert done.removed == () and len(done.kept) > 10 and done.freed == 0
    assert {n for n in everything(filled) if n[:5] != "locks"} == {n for n in before if n[:5] != "locks"}


def test_what_a_run_uses_stays_and_the_rest_goes(filled, layout, twin):
    with using(filled) as lease:
        lease.limit([layout.manifest_digest])
        done = remove(filled, CacheSelection(), SCRIPTS)
        kinds = {entry.kind for entry in done.removed}
        assert kinds == {CacheKind.DOWNLOADS, CacheKind.IMAGES, CacheKind.LAYERS}
        assert {e.name for e in done.removed if e.kind is not CacheKind.DOWNLOADS} == {
            twin.manifest_digest, twin.config_digest
        }  # fmt: skip
        assert names(filled, CacheKind.DATA) and names(filled, CacheKind.TEMPORARY)
        assert ensure_rootfs(layout, filled).is_dir()


def test_a_directory_that_is_being_written_stays_and_an_abandoned_one_goes(store, layout):
    dead = store.root / "layouts" / ".staging-dead"
    dead.mkdir()
    (dead / "file").write_text("x")
    with staged(store.root / "layouts") as folder:
        dead.mkdir(exist_ok=True)
        (dead / "file").write_text("x")
        remove(store, CacheSelection((CacheKind.TEMPORARY,)))
        assert folder.is_dir() and not dead.exists()


def test_files_with_a_link_elsewhere_free_nothing(store, layout):
    done = plan_removal(inventory(store), CacheSelection((CacheKind.LAYERS,)))
    alone = [e for e in done.removed if e.name in layout.diff_ids]
    assert CacheSelection((CacheKind.LAYERS,)).chosen(inventory(store)) == done.removed
    content = (store.root / "unpacked").rglob("weights.bin")
    assert freed_bytes(alone) < next(content).stat().st_size < done.freed


# ------------------------------------------------------------------------------------- image rm


def test_an_image_goes_and_can_be_built_again(filled, tiny, layout):
    planned = plan_image_removal("tiny", tiny.images, filled)
    assert names(filled, CacheKind.IMAGES) != set()
    done = remove_image("tiny", tiny.images, filled)
    assert done == planned and done.freed > 1 << 20
    assert names(filled, CacheKind.IMAGES) == names(filled, CacheKind.LAYERS) == set()
    assert names(filled, CacheKind.DATA) and names(filled, CacheKind.DOWNLOADS)
    with pytest.raises(PrerequisiteError, match="is not in"):
        remove_image("tiny", tiny.images, filled)
    assert build.ensure_layout("tiny", tiny.images, filled, []) == layout


def test_layers_that_another_image_shares_are_kept(store, tiny, layout, twin):
    done = remove_image("tiny", tiny.images, store)
    assert {e.name for e in done.removed} == {layout.manifest_digest, layout.config_digest}
    assert {e.name for e in done.kept} == set(layout.diff_ids)
    assert build.survey("twin", tiny.images, store).built
    assert ensure_rootfs(twin, store).is_dir()
    remove_image("twin", tiny.images, store)
    assert names(store, CacheKind.IMAGES) == names(store, CacheKind.LAYERS) == set()


@pytest.mark.parametrize("limited", [True, False])
def test_an_image_in_use_is_refused(store, tiny, layout, limited):
    before = everything(store)
    with using(store) as lease:
        if limited:
            lease.limit([layout.manifest_digest])
        for act in (plan_image_removal, remove_image):
            with pytest.raises(RunError, match=f"in use by process {os.getpid()}; nothing was removed"):
                act("tiny", tiny.images, store)
    assert {n for n in everything(store) if n[:5] != "locks"} == {n for n in before if n[:5] != "locks"}


def test_an_image_that_others_do_not_use_can_go_beside_a_run(store, tiny, layout, twin):
    with using(store) as lease:
        lease.limit([twin.manifest_digest])
        remove_image("tiny", tiny.images, store)
        assert ensure_rootfs(twin, store).is_dir()


def test_image_rm_of_an_unknown_era_or_an_absent_store(store, capsys):
    assert run(["image", "rm", "nonsense", "--store", str(store.root)]) == 2
    assert run(["image", "rm", "cpu", "--store", str(store.root)]) == 3
    assert "speedrun cache show" in capsys.readouterr().err
    assert not store.root.exists()


# ----------------------------------------------------------------------------------- the commands


def ask(store, *arguments):
    return run(["cache", *arguments, "--store", str(store.root)])


def test_show_counts_by_kind_and_says_who_uses_it(filled, capsys):
    with using(filled), using(filled):
        assert ask(filled, "show") == 0
    shown = capsys.readouterr()
    rows = {line.split()[0]: line.split() for line in shown.out.splitlines()[1:]}
    assert set(rows) == {kind.value for kind in CacheKind}
    assert rows["layers"][1] == str(len(names(filled, CacheKind.LAYERS)))
    assert f"in use by process {os.getpid()}\n" in shown.err
    assert ask(filled, "show", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["bytes"] == sum(kind["bytes"] for kind in document["kinds"].values())
    assert document["kinds"]["canary"]["entries"] == 1 and document["uses"] == []
    assert {e["name"] for e in document["entries"] if e["kind"] == "other"} >= {"notes.txt"}


def test_show_of_a_store_that_does_not_exist_makes_none(store, capsys):
    assert ask(store, "show") == 0
    assert "empty" in capsys.readouterr().err
    assert ask(store, "show", "--json") == 0
    assert ask(store, "clean", "--yes") == 0
    assert not store.root.exists()


def test_without_a_terminal_nothing_goes_until_yes_is_given(filled, capsys):
    before = everything(filled)
    assert ask(filled, "clean", "--kind", "canary") == 2
    assert "--yes" in capsys.readouterr().err
    assert everything(filled) == before
    assert ask(filled, "clean", "--kind", "canary", "--dry-run") == 0
    assert "would free" in capsys.readouterr().err
    assert everything(filled) == before
    assert ask(filled, "clean", "--kind", "canary", "--yes", "--json") == 0
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert [e["name"] for e in document["removed"]] == ["cd" * 32] and document["freed_bytes"] > 0
    assert "freed" in shown.err
    assert names(filled, CacheKind.CANARY) == set()


@pytest.mark.parametrize(
    "arguments", [["--kind", "other"], ["--kind", "x"], ["--older-than", "soon"], ["--older-than", "-1d"]]
)
def test_bad_options_are_refused(filled, arguments):
    before = everything(filled)
    assert ask(filled, "clean", "--yes", *arguments) == 2
    assert everything(filled) == before


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("", 1), ("y", 0)])
def test_on_a_terminal_it_asks(filled, answer, code):
    ours, theirs = pty.openpty()
    program = [sys.executable, "-m", "kit.cli", "cache", "clean", "--kind", "canary"]
    process = subprocess.Popen(
        [*program, "--store", str(filled.root)], stdin=theirs, stdout=subprocess.PIPE, stderr=theirs
    )
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    process.communicate()
    os.close(ours)
    assert process.returncode == code
    assert (names(filled, CacheKind.CANARY) == set()) is (code == 0)


def test_a_store_that_cannot_be_written_is_an_error(filled, monkeypatch, capsys):
    def refuse(folder):
        raise PrerequisiteError(f"cannot write {folder}: Read-only file system")

    monkeypatch.setattr("kit.core.store.make_folder", refuse)
    assert ask(filled, "clean", "--yes") == 3
    assert "Read-only" in capsys.readouterr().err
