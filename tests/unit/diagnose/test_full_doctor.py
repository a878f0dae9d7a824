"""`doctor` says about GPUs what a full run would say, before anything is fetched. All GPUs here are fake."""

from __future__ import annotations

from fake_gpus import fake_inventory, fake_sources

from kit.core.errors import PrerequisiteError
from kit.core.store import Store
from kit.diagnose.doctor import Health, _disk, container_toolkit, gpus
from kit.gpu.nvml import NO_DRIVER, Fabric


def test_eight_h100s_are_well():
    found = gpus(fake_sources(fake_inventory()))
    assert found.health is Health.OK
    assert found.detail == "8 x NVIDIA H100 80GB HBM3, driver 550.54.15"


def test_a_machine_without_gpus_is_told_what_it_can_do():
    found = gpus(fake_sources(NO_DRIVER))
    assert found.health is Health.MISSING and "--profile smoke" in found.detail


def test_what_would_refuse_a_run_is_told_with_its_fix():
    found = gpus(fake_sources(fake_inventory(fabric=Fabric.PENDING)))
    assert found.health is Health.MISSING
    assert "the NVLink fabric is not initialized" in found.detail and "fabricmanager" in found.fix


def test_a_driver_that_cannot_be_asked_is_told_with_its_fix():
    found = gpus(fake_sources(PrerequisiteError("it does not answer", "reboot")))
    assert (found.health, found.detail, found.fix) == (Health.MISSING, "it does not answer", "reboot")


def test_a_store_that_cannot_be_made_is_broken_and_does_not_end_the_examination(tmp_path):
    (tmp_path / "file").touch()
    found = _disk(Store(tmp_path / "file"), fix=False)
    assert found.health is Health.BROKEN and "--store" in found.fix


def test_a_toolkit_with_known_escapes_is_told_with_the_version_that_closes_them():
    found = container_toolkit((1, 17, 7))
    assert found.health is Health.BROKEN and "CVE-2025-23266, CVE-2025-23267" in found.detail
    assert "1.19.1 or newer" in found.fix


def test_a_machine_without_the_toolkit_lacks_nothing():
    assert container_toolkit(None).health is Health.OK
    assert container_toolkit((1, 19, 1)).health is Health.OK
