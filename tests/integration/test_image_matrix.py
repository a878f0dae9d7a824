"""
The cpu image under conditions that must not show, byte for byte.

Two builds hold every condition between them; `KIT_TEST_MATRIX=all` builds once for each, which takes minutes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from perturbed import OTHER_USER, PERTURBED, Condition, build, copied, differences, everything

from kit.core.facts import facts_root
from kit.core.home import default_store
from kit.core.store import Store
from kit.image.acquire import fetch
from kit.image.build import ensure_layout
from kit.image.fetch import default_fetchers
from kit.image.lock import read_lock
from kit.image.spec import read_spec

pytestmark = pytest.mark.network

IMAGES = facts_root() / "images"
FIRST = ("a private umask", "a zone of fourteen hours", "a Turkish locale", "no home",
         "a clock of the nineties", "folders listed in disorder", "one worker")  # fmt: skip
AS_ROOT = {"another user": OTHER_USER} if os.geteuid() == 0 else {}
ALL_AT_ONCE = {
    "one half of them": everything([*(PERTURBED[name] for name in FIRST), *AS_ROOT.values()]),
    "the other half": everything(c for name, c in PERTURBED.items() if name not in (*FIRST, "seven workers")),
}
MATRIX = {**PERTURBED, **AS_ROOT} if os.environ.get("KIT_TEST_MATRIX") == "all" else ALL_AT_ONCE


@pytest.fixture(scope="module")
def place():
    """A folder with copies of the facts and files that every user can read, and room for every user."""
    folder = Path(tempfile.mkdtemp(prefix="speedrun-matrix-"))
    folder.chmod(0o777)
    store = Store(default_store())
    lock = read_lock(read_spec(IMAGES, "cpu"))
    fetch(lock, store, default_fetchers(None))
    copied({a.sha256: store.blob(a.sha256) for a in lock.artifacts}, folder / "files")
    shutil.copytree(IMAGES / "cpu", folder / "images" / "cpu")
    for path in (folder / "images").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (folder / "images").chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", MATRIX)
def test_the_image_does_not_depend_on_the_machine(place, name):
    condition: Condition = MATRIX[name]
    reference = ensure_layout("cpu", IMAGES, Store(default_store()), default_fetchers(None)).path
    other = build("cpu", place / "images", place / "files", place / "built", condition)
    try:
        assert differences(reference, other) == []
    finally:
        shutil.rmtree(other)
