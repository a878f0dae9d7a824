"""What a machine's owner switched off between its GPUs reaches every guest, and is said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_gpus import fake_inventory, fake_sources

from kit.cli.machine import gpu_sources
from kit.core.errors import UsageError
from kit.evaluate.launch import gpu_variables
from kit.gpu.links import settings_in
from kit.gpu.preflight import LINKS, NO_GPUS, GpuRequirements, preflight
from kit.values.hardware import LINK_VARIABLES, format_settings

OFF = (("NCCL_NVLS_ENABLE", "0"), ("NVSHMEM_DISABLE_NVLS", "1"))


def test_only_what_takes_a_link_away_is_passed_on():
    environment = {**dict(OFF), "NCCL_TUNER_PLUGIN": "/tmp/mine.so", "LD_PRELOAD": "/tmp/mine.so"}
    assert settings_in(environment) == OFF
    assert list(LINK_VARIABLES) == sorted(LINK_VARIABLES)


@pytest.mark.parametrize("value", ["", "0 1", "/tmp/x", "0\n", "١", "1" * 17])
def test_a_value_that_no_such_setting_has_is_refused(value):
    with pytest.raises(UsageError, match="invalid value: NCCL") as refused:
        settings_in({"NCCL_P2P_DISABLE": value})
    assert "unset NCCL_P2P_DISABLE" in refused.value.hint


def test_the_guest_gets_them_and_the_preflight_warns():
    ready = preflight(GpuRequirements(8, if_fewer="-"), replace(fake_sources(fake_inventory()), settings=OFF))
    assert dict(OFF).items() <= gpu_variables(ready).items()
    (warning,) = ready.warnings
    assert warning.id == LINKS and format_settings(OFF) in warning.detail


def test_a_run_without_gpus_gets_none_of_them():
    ready = preflight(GpuRequirements(0, if_fewer="-"), replace(fake_sources(fake_inventory()), settings=OFF))
    assert ready is NO_GPUS and gpu_variables(ready) == {"NVIDIA_VISIBLE_DEVICES": "void"}


def test_the_commands_take_them_from_their_environment(monkeypatch):
    for name in LINK_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert gpu_sources().settings == ()
    monkeypatch.setenv("NCCL_NVLS_ENABLE", "0")
    assert gpu_sources().settings == OFF[:1]
