"""A compile cache of a record's script, made in a container, and a warm run that starts with it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from conftest import REPOSITORY, left_of

from kit.audit.parsing import SourceFile
from kit.core.digest import Sha256, sha256_bytes, tree_digest
from kit.core.errors import DigestMismatch, PrerequisiteError
from kit.core.home import default_store
from kit.core.store import Artifact, Store
from kit.evaluate.compile_cache import FILES, all_caches
from kit.evaluate.compile_cache_run import make_cache
from kit.evaluate.plan import RunPlan, draft
from kit.evaluate.prepare import prepared
from kit.evaluate.provenance import this_kit
from kit.evaluate.request import Places, Request
from kit.evaluate.run import Listener, run_prepared
from kit.result.appraisal.verdict import WARM_IS_UNRANKED
from kit.result.keys import Trusted
from kit.result.predicate import CompileCache, Predicate
from kit.result.verify import open_bundle
from kit.values.profile import Profile
from kit.values.run_result import RunStatus
from kit.values.run_spec import RuntimeName

pytestmark = [pytest.mark.container, pytest.mark.network]

SCRIPT = b"""\
import os
import subprocess
import sys
import time

import torch
from torch._dynamo.utils import counters

@torch.compile
def work(x):
    return (x.sin() * x.cos() + 1).sum(dim=1)

loss = work(torch.ones(64, 64)).mean().item()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
for name in ("inductor", "triton"):
    path = f"/input/compile-cache/{name}"
    print("mounted", name, os.path.isdir(path), os.access(path, os.W_OK), flush=True)
print("own copy", os.access("/tmp/inductor", os.W_OK), flush=True)
print("hits", counters["inductor"]["fxgraph_cache_hit"], flush=True)
print("misses", counters["inductor"]["fxgraph_cache_miss"], flush=True)
for step in range(10):
    print(f"step:{step}/10 train_time:{step}ms step_avg:1.00ms", flush=True)
    time.sleep(0.05)
if not os.path.isdir("/input/compile-cache"):
    time.sleep(600)  # what makes a cache ends the script before its end
child.kill()
print(f"step:10/10 val_loss:{loss:.4f} train_time:10ms step_avg:1.00ms", flush=True)
"""


@dataclass(frozen=True)
class CompilingScript:
    """A start script that compiles, in the place of the reference trainer, which does not on a CPU."""

    entry: str = "train_gpt2.py"
    args: tuple[str, ...] = ()
    to_fetch: tuple[Artifact, ...] = ()
    compiles: bool = True

    @property
    def digest(self) -> Sha256:
        return tree_digest({self.entry: sha256_bytes(SCRIPT)})

    def write(self, folder: Path, places: Places) -> None:
        (folder / self.entry).write_bytes(SCRIPT)
        (folder / self.entry).chmod(0o444)

    def files(self, places: Places) -> tuple[SourceFile, ...]:
        return (SourceFile(self.entry, SCRIPT),)


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    """Places with the user's store, which has the image; its caches of this test's script are removed."""
    store = Store(default_store())
    yield Places(
        REPOSITORY / "records", REPOSITORY / "images", store, tmp_path / "runs", tmp_path / "keys",
        fetchers=(), kit=this_kit(),
    )  # fmt: skip
    for cache in all_caches(store):
        if cache.manifest.key.script == CompilingScript().digest:
            shutil.rmtree(cache.folder)


def plan_of(places: Places, cache: CompileCache) -> RunPlan:
    plan = draft(Request(3, Profile.SMOKE, runtime=RuntimeName.RUNC), places)
    script = CompilingScript()
    terms = replace(plan.terms, start_script=script, world_size=1)
    return replace(plan, terms=terms, entry=script.entry, script_args=script.args, compile_cache=cache)


def warm_predicate(plan: RunPlan, places: Places) -> tuple[Predicate, str]:
    """Make one run, and return what its verified bundle says, with its output."""
    with prepared(plan, places) as ready:
        outcome = run_prepared(ready, places, Listener())
    bundle = open_bundle(outcome.bundle, Trusted(()))
    return bundle.predicate, (outcome.bundle.parent / "guest.log").read_text("utf-8", "replace")


def test_a_warm_run_hits_the_cache_that_the_start_script_left(places: Places) -> None:
    cold, warm = (plan_of(places, cache) for cache in (CompileCache.COLD, CompileCache.WARM))
    with pytest.raises(PrerequisiteError, match="compile cache not found") as missing, prepared(warm, places):
        pass
    assert missing.value.hint == "speedrun cache make --record 3"

    made = make_cache(cold, places, steps=3)
    assert made is not None and made[1]
    cache = made[0]
    assert make_cache(cold, places, steps=3) == (cache, False)
    assert cache.manifest.step is not None and 3 <= cache.manifest.step < 10
    assert {file.name.split("/")[0] for file in cache.manifest.files} == {"inductor"}
    assert all(path.stat().st_mode & 0o222 == 0 for path in cache.folder.rglob("*") if path.is_file())

    p, log = warm_predicate(warm, places)
    assert "mounted inductor True False" in log and "own copy True" in log
    assert re.search(r"^hits [1-9]", log, re.MULTILINE) and "misses 0" in log
    assert (p.run.compile_cache, p.run.compile_cache_sha256) == (CompileCache.WARM, cache.digest)
    assert not p.score.ranked and WARM_IS_UNRANKED in p.score.unranked_because
    assert p.run.status is RunStatus.COMPLETED and left_of(p.run.id) == []
    assert list(cache.faults()) == []

    changed = next(path for path in (cache.folder / FILES).rglob("*.py"))
    changed.chmod(0o644)
    changed.write_bytes(changed.read_bytes() + b"#")
    with pytest.raises(DigestMismatch, match="checksum mismatch"), prepared(warm, places):
        pass
