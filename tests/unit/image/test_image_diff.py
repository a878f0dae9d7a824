"""In what two images differ: packages, layers, and entries down to the first byte."""

from __future__ import annotations

import json
import os
import shutil
import tarfile

import pytest

from kit.core.digest import sha256_bytes, sha256_file
from kit.core.errors import DigestMismatch, IntegrityError, PrerequisiteError, SchemaError, UsageError
from kit.core.schema import MAX_DOCUMENT
from kit.core.store import FolderFetcher, Store
from kit.image import build
from kit.image.compared import read_image
from kit.image.diff import ImageChange, compare_images, compare_layers
from kit.image.disk import disk_usage
from kit.image.lock import read_lock, write_lock
from kit.image.oci import blob_path
from kit.image.spec import read_spec


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def pair(tiny, kitchen, store):
    """The tiny era, and era `next`: another version of small, which brings other files."""
    text = (tiny.images / "tiny" / "image.toml").read_text()
    (tiny.images / "next").mkdir()
    toml = tiny.images / "next" / "image.toml"
    toml.write_text(text.replace('era = "tiny"', 'era = "next"').replace("small==2.0", "small==2.1"))
    lock = read_lock(tiny.spec)
    small = kitchen.wheel({"small.py": b"y = 3\n", "more.py": b"z = 1\n"}, version="2.1")
    big = next(w for w in lock.wheels if w.project == "big")
    write_lock(read_spec(tiny.images, "next"), lock.debs, (small, big))
    for era in ("tiny", "next"):
        build.accept(era, tiny.images, store, [FolderFetcher(tiny.mirror)])
    return tiny.images


def entries(found):
    return {c.name.removeprefix("usr/local/lib/python3.11/dist-packages/"): c for c in found.entries}


def test_two_eras_differ_in_packages_layers_and_entries(pair, store):
    found = compare_images(read_image("tiny", pair, store), read_image("next", pair, store))
    assert not found.same
    assert found.packages == (ImageChange("wheel", "", "small", "2.0", "2.1"),)
    assert [c.name for c in found.layers] == ["small wheels"]
    changed = entries(found)
    assert (changed["more.py"].before, changed["more.py"].after) == (None, "file of 6 bytes")
    assert changed["small.py"].before == "differs from byte 4 of 6"
    assert changed["small-2.0.dist-info"].after is None
    assert found.unread == () and "big/weights.bin" not in changed


def test_an_era_is_the_same_as_itself_and_as_its_layout(pair, store):
    era = read_image("tiny", pair, store)
    layout = read_image(str(store.root / "layouts" / era.manifest), pair, store)
    assert layout.packages == era.packages
    assert [(x.title, x.digest) for x in layout.layers] == [(x.title, x.digest) for x in era.layers]
    found = compare_images(era, layout)
    assert found.same and not (found.packages or found.layers or found.entries)


def test_layers_that_are_not_here_are_compared_by_digest_and_named(pair, store):
    for digest in (layer.digest for layer in read_image("next", pair, store).layers):
        store.blob(digest).unlink(missing_ok=True)
    found = compare_images(read_image("tiny", pair, store), read_image("next", pair, store))
    assert found.unread == ("small wheels",) and found.entries == ()
    assert [c.name for c in found.packages] == ["small"]


def test_what_is_neither_era_nor_layout_is_refused(pair, store, tmp_path):
    with pytest.raises(PrerequisiteError, match="neither an era nor") as caught:
        read_image(str(tmp_path), pair, store)
    assert "next, tiny" in caught.value.hint


@pytest.mark.parametrize("part", ["index.json", "manifest", "config"])
def test_a_layout_without_one_of_its_documents_is_refused(pair, store, tmp_path, part):
    era = read_image("tiny", pair, store)
    copy = tmp_path / "copy"
    shutil.copytree(store.root / "layouts" / era.manifest, copy)
    (copy / part if part == "index.json" else blob_path(copy, getattr(era, part))).unlink()
    with pytest.raises(PrerequisiteError, match=r"not found|does not exist") as e:
        read_image(str(copy), pair, store)
    assert e.value.hint == "copy the whole layout again"


def test_a_name_in_an_index_does_not_outrank_the_digest(pair, store, tmp_path):
    """A layout whose index calls another image `tiny` is not taken for era tiny."""
    tiny, other = (read_image(era, pair, store) for era in ("tiny", "next"))
    forged = tmp_path / "forged"
    shutil.copytree(store.root / "layouts" / other.manifest, forged)
    index = json.loads((forged / "index.json").read_bytes())
    index["manifests"][0]["annotations"] = {
        "org.opencontainers.image.ref.name": "tiny",
        "io.containerd.image.name": "speedrun-kit:tiny",
    }
    (forged / "index.json").write_text(json.dumps(index))
    with pytest.raises(IntegrityError, match="does not contain image"):
        build.adopt("tiny", pair, Store(tmp_path / "fresh"), forged)
    assert read_image(str(forged), pair, store).manifest == other.manifest != tiny.manifest


@pytest.fixture
def tars(tmp_path, cook):
    """Write two layers and compare them."""

    def both(before, after):
        paths = []
        for name, members in (("a", before), ("b", after)):
            path = tmp_path / name
            path.write_bytes(cook.tar([cook.member(n, **fields) for n, fields in members]))
            paths.append(path)
        return compare_layers("some", *paths)

    return both


@pytest.mark.parametrize(
    ("fields", "before", "after"),
    [
        ({"mode": 0o600}, "mode 0644", "mode 0600"),
        ({"mtime": 7}, "time 0", "time 7"),
        ({"uid": 1000}, "uid 0", "uid 1000"),
        ({"uname": "me"}, "user", "user me"),
        ({"data": b"12"}, "size 1", "size 2"),
        ({"data": b"2"}, "differs from byte 0 of 1", "differs from byte 0 of 1"),
    ],
)
def test_every_field_of_an_entry_counts(tars, fields, before, after):
    [change] = tars([("x", {"data": b"1"})], [("x", {"data": b"1", **fields})])
    assert change == ImageChange("entry", "some", "x", before, after)


def test_the_order_of_entries_counts(tars):
    [change] = tars([("a", {}), ("b", {})], [("b", {}), ("a", {})])
    assert change == ImageChange("entry", "some", "entry 0 in order", "a", "b")


def test_bytes_that_no_entry_explains_are_placed(tmp_path, cook):
    data = cook.tar([cook.member("x", data=b"1")])
    (tmp_path / "a").write_bytes(data)
    (tmp_path / "b").write_bytes(data[:600] + b"!" + data[601:])
    [change] = compare_layers("some", tmp_path / "a", tmp_path / "b")
    assert (change.name, change.before) == ("tar encoding", "byte 600")


def test_what_is_no_tar_is_refused(tmp_path):
    for name in "ab":
        (tmp_path / name).write_bytes(b"no tar" * 200)
    with pytest.raises(IntegrityError, match="not a tar"):
        compare_layers("some", tmp_path / "a", tmp_path / "b")


def test_a_tar_whose_header_states_a_size_that_cannot_be_is_refused(tmp_path):
    fine = tarfile.TarInfo("x").tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    (tmp_path / "fine").write_bytes(fine)
    for size in (-1, -513, -1024, 1 << 62, 1 << 70):
        info = tarfile.TarInfo("x")
        info.size = size
        (tmp_path / "odd").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + fine)
        with pytest.raises(IntegrityError, match="not a tar"):
            compare_layers("some", tmp_path / "fine", tmp_path / "odd")


@pytest.mark.parametrize(
    ("index", "kind", "said"),
    [
        ({"manifests": [{"digest": f"sha256:{d * 64}"} for d in "ab"]}, UsageError, "lists 2 images"),
        ({"manifests": []}, UsageError, "lists 0 images"),
        ({"manifests": 7}, SchemaError, "is not an OCI index"),
        ({"manifests": [7]}, SchemaError, "is not an OCI index"),
        ([], SchemaError, "is not an OCI index"),
        ({"manifests": [{"digest": "/dev/zero"}]}, SchemaError, ".* is not a sha256 digest"),
        (
            {"manifests": [{"digest": "../../index.json"}]},
            SchemaError,
            ".* is not a sha256 digest",
        ),
    ],
)
def test_a_layout_that_is_not_of_one_image_is_refused_by_its_index(pair, store, tmp_path, index, kind, said):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "oci-layout").touch()
    (tmp_path / "odd" / "index.json").write_text(json.dumps(index))
    with pytest.raises(kind, match=f"odd/index.json:? {said}"):
        read_image(str(tmp_path / "odd"), pair, store)


@pytest.fixture
def foreign(pair, store, tmp_path):
    """A copy of the tiny era's layout, and what changes its documents so that each names the next."""
    era = read_image("tiny", pair, store)
    folder = tmp_path / "foreign"
    shutil.copytree(store.root / "layouts" / era.manifest, folder)

    def put(data):
        digest = sha256_bytes(data)
        blob_path(folder, digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    def change(config=None, layers=None):
        manifest = json.loads(blob_path(folder, era.manifest).read_bytes())
        if config is not None:
            document = json.loads(blob_path(folder, era.config).read_bytes())
            manifest["config"] = put(json.dumps(document | config).encode())
        if layers is not None:
            manifest["layers"] = [put(data) for data in layers]
        index = {"manifests": [put(json.dumps(manifest).encode())]}
        (folder / "index.json").write_text(json.dumps(index))
        return read_image(str(folder), pair, store)

    change.folder, change.era = folder, era
    return change


def endless(path):
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("spoil", [endless, lambda path: os.truncate(path, MAX_DOCUMENT + 1)])
@pytest.mark.parametrize("document", ["index.json", "manifest", "config"])
def test_a_document_of_a_layout_that_would_fill_the_memory_is_not_read(foreign, pair, store, document, spoil):
    names = {"manifest": foreign.era.manifest, "config": foreign.era.config}
    path = foreign.folder / document
    if document in names:
        path = blob_path(foreign.folder, names[document])
        data = path.read_bytes()  # a copy of its own, not the store's
        path.unlink()
        path.write_bytes(data)
    spoil(path)
    with pytest.raises(SchemaError, match="larger than"):
        read_image(str(foreign.folder), pair, store)


def test_a_config_that_is_not_the_named_one_is_refused(foreign, pair, store):
    path = blob_path(foreign.folder, foreign.era.config)
    path.unlink()
    path.write_bytes(b"{}")
    with pytest.raises(DigestMismatch, match="was changed"):
        read_image(str(foreign.folder), pair, store)


@pytest.mark.parametrize("digest", ["/etc/hostname", "../../index.json", "a" * 300, "\0", ""])
def test_an_index_names_its_image_by_digest_and_by_no_path(foreign, pair, store, digest):
    (foreign.folder / "index.json").write_text(json.dumps({"manifests": [{"digest": digest}]}))
    with pytest.raises(SchemaError, match="is not a sha256 digest") as caught:
        read_image(str(foreign.folder), pair, store)
    assert caught.value.hint == ""


@pytest.mark.parametrize(
    "history",
    [
        [{"created_by": step} for step in ("RUN a", "RUN a", "RUN b", "RUN c")],
        [{"created_by": "RUN a"}],
        [{}, {}, {}],
        [7],
        None,
        7,
    ],
)
def test_layers_without_a_title_each_are_numbered(foreign, history):
    found = foreign(config={"history": history})
    assert [x.title for x in found.layers] == [f"layer {at}" for at in range(3)] and found.packages


def test_a_list_of_packages_that_would_fill_the_memory_is_not_read(foreign, cook):
    status = cook.tar([cook.member("var/lib/dpkg/status", data=bytes(MAX_DOCUMENT + 1))])
    with pytest.raises(IntegrityError, match="dpkg/status is larger than"):
        foreign(layers=[status])


def extended(name, size):
    """Return a tar's extended header that states this size, and no more."""
    header = bytearray(512)
    header[: len(name)], header[156:157], header[257:265] = name, b"x", b"ustar\x0000"
    header[124:136] = b"\x80" + size.to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:155] = b"%06o\0" % sum(header)
    return bytes(header)


@pytest.mark.parametrize("header", [extended(b"x", 1 << 62), extended(b"x", 0) * 2000])
def test_a_layer_whose_headers_state_what_cannot_be_is_no_tar(foreign, header):
    with pytest.raises(IntegrityError, match="not a tar"):
        foreign(layers=[header])


def test_a_verification_that_fails_says_which_entries_differ(pair, store, tmp_path, monkeypatch):
    from kit.image import layer

    monkeypatch.setattr(layer, "base_entries", _with_another_host(layer.base_entries))
    done = build.verify("tiny", pair, store, [])
    assert len(done.differences) == 3 and done.differences[0].startswith("layer 0 (base): expected")
    assert [(c.layer, c.name) for c in done.entries] == [("base", "etc/hostname")]


def _with_another_host(original):
    from kit.image.entry import literal

    def changed(python):
        return [e for e in original(python) if e.path != "etc/hostname"] + [
            literal("etc/hostname", b"127.0.0.1\n", "test")
        ]

    return changed


def test_layers_that_eras_share_are_paid_once(pair, store):
    both = disk_usage(pair, store)
    layers = {p for era in ("tiny", "next") for p in (x.path for x in read_image(era, pair, store).layers)}
    assert (both.eras, both.layers) == (("next", "tiny"), len(layers))
    assert both.distinct == sum(p.stat().st_size for p in layers) < both.summed
    assert both.on_disk >= both.distinct and len({sha256_file(p) for p in layers}) == len(layers)
    inodes = {p.stat().st_ino: p.stat().st_blocks for p in store.root.glob("layouts/**/*")}
    assert both.on_disk == 512 * sum(inodes.values())
    for era in ("tiny", "next"):
        shutil.rmtree(store.root / "layouts" / read_image(era, pair, store).manifest)
    assert disk_usage(pair, store).document() == {
        "eras": [], "layers": 0, "summed_bytes": 0, "distinct_bytes": 0, "disk_bytes": 0, "ratio": 0.0,
    }  # fmt: skip


def test_an_incomplete_image_is_not_counted_in_the_disk_usage(pair, store):
    whole = disk_usage(pair, store)
    layout = store.root / "layouts" / read_image("next", pair, store).manifest
    own = {x.digest for x in read_image("next", pair, store).layers} - {
        x.digest for x in read_image("tiny", pair, store).layers
    }
    blob_path(layout, own.pop()).unlink()
    found = disk_usage(pair, store)
    assert (found.eras, found.layers) == (("tiny",), whole.layers - 1)
    assert found.on_disk >= found.distinct
