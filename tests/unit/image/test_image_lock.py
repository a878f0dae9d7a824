"""A lock belongs to one version of its image.toml and names no place."""

from __future__ import annotations

import json
import random
import re

import pytest

from kit.core.errors import PrerequisiteError, SchemaError, StaleLock
from kit.core.facts import facts_root
from kit.image.digest import digest_path, read_identity
from kit.image.lock import lock_path, parse_lock, read_lock, render_lock
from kit.image.spec import eras, read_spec

IMAGES = facts_root() / "images"


def test_a_changed_image_toml_makes_its_lock_stale(tiny):
    path = tiny.images / "tiny" / "image.toml"
    path.write_text(path.read_text() + "# one more word\n")
    spec = read_spec(tiny.images, "tiny")
    with pytest.raises(StaleLock) as caught:
        read_lock(spec)
    assert str(path) in caught.value.message
    assert str(lock_path(spec)) in caught.value.message
    assert caught.value.hint == "speedrun image lock tiny"


def test_a_missing_lock_says_how_to_make_it(tiny):
    lock_path(tiny.spec).unlink()
    with pytest.raises(PrerequisiteError, match=r"lock\.json") as caught:
        read_lock(tiny.spec)
    assert caught.value.hint == "speedrun image lock tiny"


def test_the_order_of_resolving_does_not_show_in_the_lock(tiny):
    lock = read_lock(tiny.spec)
    shuffled = random.Random(7).sample(lock.wheels, len(lock.wheels))
    assert render_lock(tiny.spec, lock.debs, tuple(shuffled)) == lock_path(tiny.spec).read_bytes()


@pytest.mark.parametrize("key", ["name", "file"])
def test_an_entry_that_is_listed_twice_is_refused(tiny, key):
    document = json.loads(lock_path(tiny.spec).read_text())
    document["wheels"][1][key] = document["wheels"][0][key]
    with pytest.raises(SchemaError, match="twice"):
        parse_lock(json.dumps(document).encode(), "lock.json")


@pytest.mark.parametrize(
    "change",
    [
        {"file": "../../etc/passwd.whl"},
        {"url": "file:///srv/wheels/x.whl"},
        {"sha256": "A" * 64},
        {"size": 0},
        {"mirror": "somewhere"},
    ],
)
def test_a_lock_cannot_name_a_place_or_a_path(tiny, change):
    document = json.loads(lock_path(tiny.spec).read_text())
    document["wheels"][0].update(change)
    with pytest.raises(SchemaError):
        parse_lock(json.dumps(document).encode(), "lock.json")


FILE = """
[[files]]
url = "https://example.org/encodings/vocab.bpe"
size = 5
sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
path = "usr/local/share/vocab.bpe"
"""


def test_a_file_of_no_package_is_locked_as_image_toml_states_it(tiny):
    path = tiny.images / "tiny" / "image.toml"
    path.write_text(path.read_text() + FILE)
    spec = read_spec(tiny.images, "tiny")
    before = json.loads(lock_path(spec).read_text())
    lock = parse_lock(lock_path(spec).read_bytes(), "lock.json")
    data = render_lock(spec, lock.debs, lock.wheels)
    [file] = parse_lock(data, "lock.json").files
    assert (file.name, file.size, file.url) == ("vocab.bpe", 5, "https://example.org/encodings/vocab.bpe")
    assert file in parse_lock(data, "lock.json").artifacts
    assert "files" not in before, "the lock of an era without such files keeps its bytes"


def test_a_lock_that_would_fill_the_memory_is_not_read(tiny):
    lock_path(tiny.spec).unlink()
    lock_path(tiny.spec).symlink_to("/dev/zero")
    with pytest.raises(SchemaError, match=r"lock\.json: larger than"):
        read_lock(tiny.spec)


def test_a_lock_of_another_era_is_refused(tiny):
    document = json.loads(lock_path(tiny.spec).read_text())
    document["era"] = "other"
    lock_path(tiny.spec).write_text(json.dumps(document))
    with pytest.raises(SchemaError, match="other"):
        read_lock(tiny.spec)


@pytest.mark.parametrize("era", eras(IMAGES))
def test_the_committed_locks_are_not_stale_and_name_no_registry(era):
    spec = read_spec(IMAGES, era)
    lock = read_lock(spec)
    text = lock_path(spec).read_text()
    assert {re.sub(r"/(whl|gpt-2)/.*", "", url) for url in re.findall(r"https?://[^\"]+", text)} <= {
        "https://download.pytorch.org",
        "https://openaipublic.blob.core.windows.net",
    }
    assert "file:" not in text
    if digest_path(spec).exists():
        titles = [title for title, _ in read_identity(spec, lock).layers]
        assert titles[: 1 + len(spec.own_layer)] == ["base", *spec.own_layer]


@pytest.mark.parametrize("era", eras(IMAGES))
def test_the_committed_locks_hold_the_torch_that_their_fidelity_states(era):
    spec = read_spec(IMAGES, era)
    stated = next(f for f in spec.fidelity if f.component == "torch")
    [locked] = [w.version for w in read_lock(spec).wheels if w.project == "torch"]
    # a wheel of the general index leaves out the CUDA version that torch itself reports
    assert stated.version == locked or stated.version.startswith(f"{locked}+")


def test_eras_share_one_epoch_and_so_their_layers():
    assert len({read_spec(IMAGES, era).epoch for era in eras(IMAGES)}) == 1
