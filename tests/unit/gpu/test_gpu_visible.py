"""A machine that is shared by `CUDA_VISIBLE_DEVICES`: a run gets those GPUs, in that order, and no other."""

from __future__ import annotations

import pytest
from fake_gpus import FakeNvml, fake_files, fake_gpu, fake_inventory

from kit.cli.machine import gpu_sources
from kit.core.errors import PrerequisiteError
from kit.diagnose.doctor import Health, gpus
from kit.gpu.nvml import NO_DRIVER, Driver, GpuProcess, Inventory, VisibleGpus
from kit.gpu.preflight import GpuRequirements, Sources, preflight
from kit.values.run_spec import GIB

HERE = fake_inventory(4)


def sources(named: str, seen: Inventory = HERE) -> Sources:
    return Sources(nvml=VisibleGpus(FakeNvml(seen), named), files=fake_files)


@pytest.mark.parametrize(
    ("named", "indices"),
    [
        ("2,0", [2, 0]),
        (" 3 , 1", [3, 1]),
        (f"{fake_gpu(1).uuid},3", [1, 3]),
        ("GPU-fa4e0000-0000-0000-0000-000000000002", [2]),
        ("", []),
    ],
)
def test_the_named_gpus_are_there_in_the_order_of_their_names(named, indices):
    seen = VisibleGpus(FakeNvml(HERE), named).read()
    assert [gpu.index for gpu in seen.gpus] == indices
    assert seen.hidden == 4 - len(indices) and seen.driver == HERE.driver


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("0,7", "lists '7', which does not match exactly one GPU of this machine"),
        ("-1", "lists '-1'"),
        ("GPU-fa4e", "lists 'GPU-fa4e'"),
        ("MIG-fa4e0000-0000-0000-0000-000000000002", "lists 'MIG-"),
        ("1,GPU-fa4e0000-0000-0000-0000-000000000001", "lists a GPU twice"),
    ],
)
def test_a_name_that_is_not_one_gpus_is_refused_with_a_way_to_find_the_names(named, says):
    ready = preflight(GpuRequirements(1, if_fewer="-"), sources(named))
    with pytest.raises(PrerequisiteError) as refused:
        ready.require()
    assert says in refused.value.message and "nvidia-smi -L" in refused.value.hint


def test_a_run_gets_the_named_gpus_although_others_are_idle():
    ready = preflight(GpuRequirements(2, if_fewer="-"), sources("3,1"))
    assert [gpu.index for gpu in ready.gpus] == [3, 1]


def test_a_process_on_a_hidden_gpu_does_not_matter():
    busy = fake_inventory(4, processes=(GpuProcess(4711, GIB),))
    preflight(GpuRequirements(1, if_fewer="-"), sources("0", busy)).require()
    with pytest.raises(PrerequisiteError, match="4711"):
        preflight(GpuRequirements(1, if_fewer="-"), sources("3", busy)).require()


def test_too_few_of_them_says_that_there_are_others():
    ready = preflight(GpuRequirements(4, if_fewer="-"), sources("0,1"))
    with pytest.raises(
        PrerequisiteError, match="the run needs 4 GPUs, this machine has 2; CUDA_VISIBLE_DEVICES hides 2"
    ):
        ready.require()


def test_without_a_driver_there_is_nothing_to_name():
    assert VisibleGpus(FakeNvml(NO_DRIVER), "0,1").read() == NO_DRIVER


@pytest.mark.parametrize(("named", "health"), [("1", Health.OK), ("", Health.MISSING)])
def test_the_doctor_says_what_is_hidden(named, health):
    found = gpus(sources(named))
    assert found.health is health and f"hides {4 - len(named)} more" in found.detail


def test_the_variable_decides_which_gpus_commands_ask_about(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert isinstance(gpu_sources().nvml, Driver)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert isinstance(gpu_sources().nvml, VisibleGpus)
