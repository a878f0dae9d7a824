"""The makers of sample bundles, run folders, tiny images and programs, for every test that needs one."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from python_file import load_once
from tenacity import wait_none

from kit.cli.stderr import STDERR
from kit.core.digest import Sha256, sha256_bytes
from kit.evaluate.interrupted import lost_result
from kit.result.derive import claims_of, observations_of
from kit.result.keys import load_or_create
from kit.result.predicate import Predicate, Verdict
from kit.result.reservation import reserve_run
from kit.sandbox.folder import RunFolder, reserve
from kit.values.log import Grammar
from kit.values.run_result import RunStatus

ASSETS = Path(__file__).parents[1] / "assets"
SAME_EXAMPLES = "KIT_EXAMPLES" not in os.environ
settings.register_profile(  # a busy machine is no fault of an example; the gate tries the same ones each time
    "unit",
    deadline=None,
    derandomize=SAME_EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("unit")
if SAME_EXAMPLES:
    # hypothesis also tries the constants of the kit's modules, but only of those that a worker happens to
    # have imported: the examples would depend on the tests that ran before
    providers._get_local_constants = lambda: providers._local_constants


@pytest.fixture(scope="session")
def make() -> ModuleType:
    """The module that writes the assets: sample values, TEST-ONLY keys, faults."""
    return load_once("bundle_assets_make", ASSETS / "bundles/make.py")


@pytest.fixture(scope="session")
def press() -> ModuleType:
    """The module that prints honest run folders."""
    return load_once("bundle_press", ASSETS / "bundles/press.py")


@pytest.fixture(scope="session")
def cook() -> ModuleType:
    """The module that makes tiny packages and a tiny era."""
    return load_once("tiny_images", ASSETS / "images/tiny.py")


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a download retry at once."""
    monkeypatch.setattr("kit.core.download.BACKOFF", wait_none())


@pytest.fixture(autouse=True)
def no_repeats(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a command that a busy machine slows down print no `still running`, also after its test."""
    monkeypatch.setattr("kit.cli.stderr.SILENT_S", math.inf)
    yield
    STDERR.close()


@pytest.fixture
def kitchen(cook: ModuleType, tmp_path: Path) -> Any:
    """A folder to make packages in."""
    folder = tmp_path / "packages"
    folder.mkdir(exist_ok=True)
    return cook.Kitchen(folder)


@pytest.fixture
def tiny(cook: ModuleType, tmp_path: Path) -> Any:
    """An era with one deb and two wheels, locked but not yet promised."""
    return cook.era(tmp_path)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Put a shell script in front of the machine's programs, under a name; gives its path."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", os.pathsep.join((str(folder), os.environ["PATH"])))

    def put(name: str, script: str) -> Path:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
        return folder / name

    return put


def own_run_id(folder: Path, number: int) -> str:
    """Return an id that no other test uses: who is at work on an id is known on the whole machine."""
    return f"r03-20260101T00{number // 60:02d}{number % 60:02d}Z-{sha256_bytes(bytes(folder))[:8]}"


@pytest.fixture
def planned(make: ModuleType) -> Callable[[str], tuple[Predicate, Sha256]]:
    """What would be signed if the sample run were lost, under an id, and the digest of its submission."""
    sample, subjects = make.predicate(ASSETS / "bundles"), make.subjects(ASSETS / "bundles")
    empty = replace(lost_result(make.spec(), "it died"), started_at=sample.run.started_at)

    def plan(run_id: str) -> tuple[Predicate, Sha256]:
        run = replace(sample.run, id=run_id, status=RunStatus.LOST, exit_code=None, clock=None, ended_in=None)
        score = replace(sample.score, verdict=Verdict.FAILED, ranked=False, unranked_because=("it was lost",))
        nothing = claims_of((), Grammar.STEP)
        lost = replace(sample, run=run, claims=nothing, observations=observations_of(empty), score=score)
        return lost, subjects.submission

    return plan


@pytest.fixture
def lost(planned: Callable[[str], tuple[Predicate, Sha256]], tmp_path: Path) -> Callable[..., RunFolder]:
    """Reserve a run whose process is gone, with the key in `tmp_path / "keys"`, and return its folder."""
    own = load_or_create(tmp_path / "keys")

    def one(number: int = 0, out: str = "runs") -> RunFolder:
        run_id = own_run_id(tmp_path, number)
        predicate, submission = planned(run_id)
        with reserve(
            tmp_path / out,
            run_id,
            lambda lease: reserve_run(predicate, submission, lease, own),
            ASSETS / "bundles" / "submission",
        ) as folder:
            return folder

    return one
