"""No condition of the machine shows in an image's bytes; where something does, the entry is named."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import perturbed
import pytest
from perturbed import ORDINARY, OTHER_USER, PERTURBED, build, copied, differences

from kit.image.lock import read_lock
from kit.image.spec import read_spec


@pytest.fixture(scope="module")
def bakery(cook):
    """A tiny era's facts and files, where every user can read them, and what it ordinarily becomes."""
    place = Path(tempfile.mkdtemp(prefix="speedrun-perturbed-"))
    place.chmod(0o777)
    try:
        tiny = cook.era(place / "tiny")
        for path in (place / "tiny").rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        (place / "tiny").chmod(0o755)
        lock = read_lock(tiny.spec)
        artifacts = copied({a.sha256: tiny.mirror / a.name for a in lock.artifacts}, place / "files")

        def bake(name: str, condition, images=tiny.images) -> Path:
            return build("tiny", images, artifacts, place / name.replace(" ", "-"), condition)

        yield place, tiny, bake, bake("reference", ORDINARY)
    finally:
        shutil.rmtree(place)


@pytest.mark.parametrize("name", PERTURBED)
def test_a_condition_of_the_machine_changes_no_byte(bakery, name):
    _, _, bake, reference = bakery
    assert differences(reference, bake(name, PERTURBED[name])) == []


OPEN = all(p.stat().st_mode & 0o001 for p in Path(perturbed.__file__).parents)


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
@pytest.mark.skipif(not OPEN, reason="another user cannot read this checkout")
def test_another_user_changes_no_byte(bakery):
    _, _, bake, reference = bakery
    other = bake("other user", OTHER_USER)
    assert (other / "index.json").stat().st_uid == perturbed.NOBODY
    assert differences(reference, other) == []


def test_a_difference_is_reported_down_to_the_tar_entry(bakery):
    place, tiny, bake, reference = bakery
    images = place / "later" / "images"
    shutil.copytree(tiny.images, images)
    toml = images / "tiny" / "image.toml"
    toml.write_text(toml.read_text().replace("2026-07-11", "2026-07-12"))
    lock = images / "tiny" / "lock.json"
    lock.write_text(lock.read_text().replace(tiny.spec.sha256, read_spec(images, "tiny").sha256))
    said = differences(reference, bake("later image", ORDINARY, images))
    assert "layer base: usr/bin/hello: time 1783728000 -> time 1783814400" in said
    assert [line for line in said if line.startswith("file blobs/sha256/")]


def test_one_other_byte_is_reported_with_its_place(bakery):
    place, _, _, reference = bakery
    other = place / "other-byte"
    shutil.copytree(reference, other)
    layer = max((other / "blobs" / "sha256").iterdir(), key=lambda p: p.stat().st_size)
    data = bytearray(layer.read_bytes())
    at = data.index(bytes(range(256))) + 300
    data[at] ^= 1
    layer.write_bytes(data)
    said = differences(reference, other)
    offset = at - data.index(bytes(range(256)))
    path = "usr/local/lib/python3.11/dist-packages/big/weights.bin"
    where = f"differs from byte {offset} of 1048576"
    assert said == [f"file blobs/sha256/{layer.name}", f"layer big: {path}: {where} -> {where}"]
