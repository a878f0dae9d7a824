"""Layers that other tools compressed are compared by what they unpack to."""

from __future__ import annotations

import bz2
import gzip
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from kit.cli import run
from kit.core.digest import sha256_bytes
from kit.core.errors import IntegrityError, PrerequisiteError, UsageError
from kit.core.extras import system_install
from kit.core.store import Store
from kit.image import uncompressed
from kit.image.compared import read_image
from kit.image.diff import compare_images, compare_layers, read_pair

needs_zstd = pytest.mark.skipif(shutil.which("zstd") is None, reason="no zstd is here")


def zstd(data):
    return subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout


def twice(data):
    """Two gzip members, as eStargz has them."""
    return gzip.compress(data[:700]) + gzip.compress(data[700:])


PACKERS = [
    pytest.param(gzip.compress, id="gzip"),
    pytest.param(twice, id="members"),
    pytest.param(lambda data: zstd(data), id="zstd", marks=needs_zstd),
    pytest.param(lambda data: zstd(data[:700]) + zstd(data[700:]), id="frames", marks=needs_zstd),
]


@pytest.fixture
def layout(tmp_path):
    """Write an OCI layout with these layers, under one or more tags."""

    def write(name, layers, tags=("a",), extra=()):
        folder = tmp_path / name
        (folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)

        def put(data):
            digest = sha256_bytes(data)
            (folder / "blobs" / "sha256" / digest).write_bytes(data)
            return {"digest": f"sha256:{digest}", "size": len(data)}

        manifest = {"config": put(b'{"rootfs": {}}'), "layers": [put(data) for data in layers]}
        one = put(json.dumps(manifest).encode())
        listed = [one | {"annotations": {"org.opencontainers.image.ref.name": tag}} for tag in tags]
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        (folder / "index.json").write_text(json.dumps({"manifests": [*listed, *extra]}))
        return str(folder)

    return write


@pytest.fixture
def compared(tmp_path):
    def both(a, b):
        return compare_images(*read_pair(a, b, tmp_path / "no-images", Store(tmp_path / "store")))

    (tmp_path / "no-images").mkdir()
    return both


@pytest.mark.parametrize("pack", PACKERS)
def test_compressed_layers_are_compared_by_entry(pack, layout, compared, cook):
    one, other = (
        cook.tar([cook.member("x", data=data), cook.member("y", data=b"")]) for data in (b"12", b"13")
    )
    found = compared(layout("one", [pack(one)]), layout("other", [other]))
    assert not found.same and [c.name for c in found.entries] == ["x"]
    assert found.entries[0].before == "differs from byte 1 of 2"


@pytest.mark.parametrize("pack", PACKERS)
def test_a_layer_and_itself_compressed_differ_in_no_entry(pack, layout, compared, cook):
    data = cook.tar([cook.member("x", data=b"1" * 2000)])
    found = compared(layout("one", [data]), layout("other", [pack(data)]))
    assert not found.same and len(found.layers) == 1 and found.entries == ()
    assert found.same_contents and found.document()["same_contents"] is True


@pytest.mark.parametrize("pack", PACKERS)
def test_the_command_calls_equal_manifests_the_same_image_and_a_compressed_copy_the_same_contents(
    pack, layout, cook, capsys, tmp_path
):
    data = cook.tar([cook.member("x", data=b"1" * 2000)])
    other = cook.tar([cook.member("x", data=b"2" * 2000)])
    plain, packed = layout("plain", [data]), layout("packed", [pack(data)])
    store = ["--store", str(tmp_path / "store")]
    assert run(["image", "diff", plain, layout("copy", [data]), *store]) == 0
    assert capsys.readouterr().out.startswith("the same image: manifest sha256:")
    assert run(["image", "diff", plain, packed, *store]) == 1
    assert "same contents: every layer unpacks to the same bytes" in capsys.readouterr().out
    assert run(["image", "diff", layout("other", [other]), packed, *store]) == 1
    assert "same contents" not in capsys.readouterr().out
    assert run(["image", "diff", layout("more", [data, data]), packed, *store]) == 1
    assert "same contents" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "data",
    [b"no tar", gzip.compress(b"no tar"), gzip.compress(b"x" * 9000)[:-9], bz2.compress(b"")],
    ids=["no tar", "gzip", "damaged gzip", "bzip2"],
)
def test_an_image_and_itself_are_the_same_whatever_its_layers_are(data, layout, compared):
    folder = layout("odd", [data])
    found = compared(folder, folder)
    assert found.same and not found.layers
    assert compared(folder, layout("copy", [data], tags=("b", "c"))).same


def test_the_packages_in_a_compressed_layer_are_read(layout, tmp_path, cook):
    data = cook.tar([cook.member("var/lib/dpkg/status", data=b"Package: tar\nVersion: 1\n")])
    (tmp_path / "images").mkdir()
    for pack in (gzip.compress, bytes):
        image = read_image(layout("one", [pack(data)]), tmp_path / "images", Store(tmp_path / "store"))
        assert image.packages == (("deb", "tar", "1"),)


def test_a_tar_whose_last_block_is_not_filled_is_read(tmp_path, cook):
    data = cook.tar([cook.member("x", data=b"1"), cook.member("y", data=b"22")])
    (tmp_path / "full").write_bytes(gzip.compress(data))
    (tmp_path / "short").write_bytes(gzip.compress(data[: data.rindex(b"22") + 2]))
    [change] = compare_layers("some", tmp_path / "full", tmp_path / "short")
    assert change.name == "tar encoding"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda data: gzip.compress(data)[:-9], "damaged gzip"),
        (lambda data: gzip.compress(data)[:-6] + b"123456", "damaged gzip"),
        (lambda data: gzip.compress(b"no tar" * 200), "not a tar"),
        (lambda data: bz2.compress(data), "compressed with bzip2"),
        pytest.param(lambda data: zstd(data)[:-3], "damaged Zstandard", marks=needs_zstd),
    ],
)
def test_a_damaged_layer_is_named_and_never_proposed_for_removal(spoil, said, layout, compared, cook):
    data = cook.tar([cook.member("x", data=bytes(range(256)) * 9)])
    with pytest.raises(IntegrityError, match=said) as caught:
        compared(layout("one", [data]), layout("other", [spoil(data)]))
    assert (
        "other/blobs/sha256/" in caught.value.message and "rm " not in caught.value.hint and caught.value.hint
    )


@needs_zstd
def test_without_any_reader_of_zstandard_the_error_says_what_to_install(layout, compared, cook, monkeypatch):
    data = cook.tar([cook.member("x", data=b"1")])
    monkeypatch.setattr(uncompressed, "_module", lambda name: None)
    folders = layout("one", [data]), layout("other", [zstd(data)])
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        PrerequisiteError, match="compressed with Zstandard, and zstd is not installed"
    ) as caught:
        compared(*folders)
    assert caught.value.hint == system_install("zstd")


def test_a_layer_that_unpacks_to_too_much_is_refused(layout, compared, cook, monkeypatch):
    monkeypatch.setattr(uncompressed, "MAX_LAYER", 1 << 20)
    data = cook.tar([cook.member("x", data=bytes(2 << 20))])
    with pytest.raises(IntegrityError, match="unpacks to more than 1048576 bytes"):
        compared(layout("one", [cook.tar([])]), layout("other", [gzip.compress(data)]))


def test_one_of_several_images_is_named_by_its_tag(layout, compared, cook):
    data = cook.tar([cook.member("x", data=b"1")])
    first = layout("two", [data], tags=("a",))
    other = Path(layout("other", [gzip.compress(data)], tags=("b",)), "index.json")
    listed = json.loads(other.read_text())
    both = layout("two", [data], tags=("a", "c"), extra=listed["manifests"])
    with pytest.raises(UsageError, match="lists 2 images, expected 1") as caught:
        compared(both, both)
    assert f"the tags are: {both}:a, {both}:c, {both}:b" in caught.value.hint
    assert compared(f"{both}:a", f"{both}:c").same and first == both
    with pytest.raises(UsageError, match="lists 0 images with the tag 'd'"):
        compared(f"{both}:d", both)
