"""A prepared run holds a lease on the store, so that cleaning keeps what it uses."""

import os
from pathlib import Path

from kit.core.store_use import current_uses
from kit.diagnose.cache.inventory import CacheKind
from kit.diagnose.cache.removal import CacheSelection, remove
from kit.evaluate.launch import DATA


def test_data_and_submission_of_a_prepared_run_stay(ready):
    found, places = ready
    (use,) = current_uses(places.store)
    assert use.process.pid == os.getpid()
    assert use.images == frozenset(), "a run on the host's files uses no image"
    (shards,) = [mount.source for mount in found.spec.mounts if mount.target == DATA]
    places.store.put(b"!<arch>\n a package that no run needs")
    done = remove(places.store, CacheSelection())
    assert {entry.kind for entry in done.removed} == {CacheKind.DOWNLOADS}
    assert list(Path(shards).glob("*.bin"))
    assert (found.spec.submission / "train_gpt2.py").is_file()
