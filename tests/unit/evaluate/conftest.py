"""What several tests of evaluations start from."""

import sys
from pathlib import Path

import pytest

from kit.core.facts import facts_root
from kit.core.store import Store
from kit.evaluate.plan import draft
from kit.evaluate.prepare import prepared
from kit.evaluate.request import Places, Request
from kit.values.profile import Profile
from kit.values.run_spec import RuntimeName
from kit.values.software import Kit


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """A smoke run of record 3 on the host's files, prepared but not started, and its places."""
    root, folder = facts_root(), tmp_path_factory.mktemp("ready")
    places = Places(
        root / "records", root / "images", Store(folder / "store"), folder / "runs", folder / "keys",
        fetchers=(), kit=Kit("0", None),
    )  # fmt: skip
    request = Request(3, Profile.SMOKE, runtime=RuntimeName.HOST, python=Path(sys.executable))
    with prepared(draft(request, places), places) as found:
        yield found, places
