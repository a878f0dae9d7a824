"""`speedrun cache make|list|remove` and `eval --compile-cache`: what they refuse, and with which code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kit.cli import run
from kit.gpu.nvml import NO_DRIVER

WARM = ["eval", "--record", "3", "--runtime", "runc", "--compile-cache", "warm"]


@pytest.fixture
def store(tmp_path: Path) -> list[str]:
    return ["--store", str(tmp_path / "store")]


@pytest.mark.parametrize("more", [["--quick"], ["--runs", "2"], ["--interleave"]])
def test_a_warm_run_is_one_run(store: list[str], capsys: pytest.CaptureFixture[str], more: list[str]) -> None:
    assert run([*WARM, *store, *more]) == 2
    assert "--compile-cache warm makes one run" in capsys.readouterr().err


def test_the_smoke_profile_compiles_nothing_so_it_has_no_cache(
    store: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = "error: nothing is compiled in the smoke profile, so there is no compile cache"
    warm = ["eval", "--runtime", "runc", "--compile-cache", "warm", "--out", str(tmp_path / "runs"), *store]
    make = ["cache", "make", "--runtime", "runc", *store]
    for record in ("3", "smoke-1"):
        for command in (warm, [*warm, "--plan"], make):
            assert run([*command, "--record", record, "--profile", "smoke"]) == 2
            first, hint = capsys.readouterr().err.splitlines()
            assert first == refused and "--profile full" in hint
    assert list(tmp_path.iterdir()) == []


def test_a_plan_for_gpus_that_are_missing_looks_for_no_cache_of_the_cpu(
    store: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*WARM, "--plan", "--json", *store]) == 0
    plan = json.loads(capsys.readouterr().out)
    (finding,) = (f for f in plan["findings"] if f["id"] == "compile-cache")
    assert "world size 8" in finding["detail"] and "CPU" not in finding["detail"]
    assert finding["fix"] == f"speedrun cache make --record 3 --gpus 8 {' '.join(store)}"
    assert (plan["compile_cache"], plan["compile_cache_sha256"]) == ("warm", None)


def test_a_store_without_compile_caches(store: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cache", "list", *store, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"caches": []}
    assert run(["cache", "list", *store]) == 0
    assert "no compile caches in" in capsys.readouterr().err
    assert run(["cache", "remove", "1f2e3d4c5b6a", *store]) == 3
    error = capsys.readouterr().err
    assert "compile cache '1f2e3d4c5b6a' not found" in error
    assert f"hint: speedrun cache list {' '.join(store)}" in error


def test_a_cache_is_made_in_an_image(store: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    make = ["cache", "make", "--record", "3", *store]
    assert run([*make, "--runtime", "host"]) == 2
    assert run([*make, "--runtime", "runc", "--image", "host"]) == 2
    assert "--python" not in capsys.readouterr().err, "`cache make` has no such option"


def test_the_hint_for_missing_gpus_is_about_the_cache(
    store: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kit.gpu.nvml.Driver.read", lambda self: NO_DRIVER)
    assert run(["cache", "make", "--record", "10", "--gpus", "2", "--runtime", "runc", *store]) == 3
    *_, error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: the run needs 2 GPUs, this machine has none")
    assert "--profile smoke" not in hint and "--gpus 1" not in hint
    assert hint.startswith("hint: run this on the machine of the warm runs")
