"""The GPU preflight: each thing that is wrong has its own refusal and its own fix. All GPUs here are fake."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from fake_gpus import fake_files, fake_gpu, fake_inventory, fake_sources

from kit.core.errors import PrerequisiteError, RunError
from kit.core.version import parse
from kit.gpu import cuda, toolkit
from kit.gpu.nvml import NO_DRIVER, Fabric, GpuProcess
from kit.gpu.preflight import NO_GPUS, GpuRequirements, Level, preflight
from kit.values.run_spec import GIB

EIGHT = GpuRequirements(8, if_fewer="run the smoke profile", cuda=(12, 1))


def found(seen, wanted=EIGHT, **sources):
    return preflight(wanted, fake_sources(seen, **sources))


def test_eight_idle_h100s_with_a_fitting_driver_pass_every_check():
    ready = found(fake_inventory(), replace(EIGHT, engine=True))
    assert [f.id for f in ready.findings] == [
        "count", "driver", "model", "mig", "processes", "memory", "fabric", "driver-files",
    ]  # fmt: skip
    assert {f.level for f in ready.findings} == {Level.OK}
    assert [g.index for g in ready.gpus] == list(range(8)) and ready.driver == "550.54.15"
    ready.require()


def missing_file(minors):
    raise PrerequisiteError("the driver's library libcuda.so.1 is not here", "install libnvidia-compute")


def closed_device(minors):
    files = fake_files(minors)
    first, *others = files.devices
    return replace(files, devices=(replace(first, mode=0o660), *others))


REFUSALS = {
    "no-driver": (
        NO_DRIVER, {}, "the run needs 8 GPUs, this machine has none: no NVIDIA driver is loaded",
        "run the smoke profile",
    ),
    "too-few": (fake_inventory(4), {}, "the run needs 8 GPUs, this machine has 4", "run the smoke profile"),
    "no-binding": (PrerequisiteError("Python cannot ask it", "install x"), {}, "cannot ask", "install x"),
    "old-driver": (
        fake_inventory(driver="515.105.01"), {}, "is too old: CUDA 12.1 needs driver 525.60.13", "530.30.02",
    ),
    "mixed": (
        fake_inventory(name="NVIDIA H200"), {}, "of different models: NVIDIA H100 80GB HBM3, NVIDIA H200",
        "one",
    ),
    "mig": (fake_inventory(mig=True), {}, "MIG mode is enabled on GPU 7", "nvidia-smi -i 7 -mig 0"),
    "stranger": (
        fake_inventory(processes=(GpuProcess(4711, GIB),)), {}, "GPU 7 is in use by process 4711",
        "nvidia-smi",
    ),
    "unseen-stranger": (
        fake_inventory(processes=(GpuProcess(0, None),)), {},
        "GPU 7 is in use by a process of another PID namespace", "stop",
    ),
    "held-memory": (fake_inventory(used=3 * GIB), {}, "2 GiB of memory is in use on GPU 7", "nvidia-smi"),
    "fabric": (
        fake_inventory(fabric=Fabric.PENDING), {}, "the NVLink fabric is not initialized on GPU 7",
        "nvidia-fabricmanager",
    ),
    "no-library": (fake_inventory(), {"files": missing_file}, "libcuda.so.1 is not", "libnvidia-compute"),
    "closed-device": (
        fake_inventory(), {"files": closed_device},
        "the guest's user cannot open /dev/nvidiactl: its mode is 0660, not 0666", "chmod 666 /dev/nvidiactl",
    ),
}  # fmt: skip


def test_devices_that_the_user_of_a_rootless_guest_cannot_open_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "exists", lambda path: True)
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).startswith("/dev/nvidiactl"))
    assert found(fake_inventory(), EIGHT).refusals == ()
    (refusal,) = found(fake_inventory(), replace(EIGHT, own_user=True)).refusals
    assert refusal.detail == "this user cannot open /dev/nvidiactl, which the guest opens as this user"
    assert "chmod 666 /dev/nvidiactl" in refusal.fix


@pytest.mark.parametrize("name", REFUSALS)
def test_a_machine_that_does_not_suit_is_refused_with_its_own_fix(name):
    seen, sources, says, fix = REFUSALS[name]
    ready = found(seen, replace(EIGHT, engine=True), **sources)
    assert len(ready.refusals) == 1
    with pytest.raises(PrerequisiteError) as refused:
        ready.require()
    assert says in refused.value.message and fix in refused.value.hint


def test_no_two_refusals_give_the_same_message():
    told = {
        found(*case[:1], replace(EIGHT, engine=True), **case[1]).refusals[0].detail
        for case in REFUSALS.values()
    }
    assert len(told) == len(REFUSALS)


def test_all_refusals_are_told_at_once_the_first_with_its_fix():
    busy = fake_inventory(mig=True, used=40 * GIB)
    with pytest.raises(PrerequisiteError) as refused:
        found(busy).require()
    assert "MIG mode" in refused.value.message and "also: more than 2 GiB" in refused.value.message
    assert "-mig 0" in refused.value.hint


def test_fewer_gpus_than_asked_for_are_never_a_smaller_run():
    ready = found(fake_inventory(7))
    assert ready.gpus == () and ready.refusals[0].id == "count"


def test_a_run_gets_the_first_gpus_and_others_do_not_matter():
    ready = found(fake_inventory(8, mig=True, name="NVIDIA T4"), replace(EIGHT, gpus=4))
    ready.require()
    assert [g.index for g in ready.gpus] == [0, 1, 2, 3] and not ready.warnings


@pytest.mark.parametrize(
    "name", ["NVIDIA A100-SXM4-80GB", "NVIDIA H100 PCIe", "NVIDIA H100 NVL", "NVIDIA B200"]
)
def test_another_model_than_the_records_is_a_warning_never_silent(name):
    seen = fake_inventory(0)
    seen = replace(seen, gpus=tuple(fake_gpu(i, name=name) for i in range(8)))
    ready = found(seen)
    ready.require()
    assert [w.id for w in ready.warnings] == ["model"] and name in ready.warnings[0].detail


def test_a_driver_older_than_the_eras_cuda_runs_with_a_warning():
    ready = found(fake_inventory(driver="525.147.05"))
    ready.require()
    assert [w.id for w in ready.warnings] == ["driver"]
    assert "minor-version compatibility" in ready.warnings[0].detail and "530.30.02" in ready.warnings[0].fix


def test_a_driver_failure_is_a_refusal_not_a_crash():
    ready = found(RunError("the NVIDIA driver failed: GPU is lost", "dmesg"))
    assert ready.refusals[0].detail == "the NVIDIA driver failed: GPU is lost"


def test_a_run_without_gpus_does_not_ask_the_driver():
    sources = fake_sources(RunError("must not be asked"))
    assert preflight(GpuRequirements(0, ""), sources) is NO_GPUS
    assert sources.nvml.asked == 0
    NO_GPUS.require()


def test_runc_makes_its_own_devices_whatever_the_modes_of_the_machines():
    assert not found(fake_inventory(), files=closed_device).refusals


@pytest.mark.parametrize(
    ("driver", "version", "fit"),
    [
        ("530.30.02", (12, 1), cuda.DriverSupport.FULL),
        ("530.30.01", (12, 1), cuda.DriverSupport.LIMITED),
        ("525.60.13", (12, 4), cuda.DriverSupport.LIMITED),
        ("525.60.12", (12, 4), cuda.DriverSupport.TOO_OLD),
        ("550.54.14", (12, 4), cuda.DriverSupport.FULL),
        ("550.9.9", (12, 4), cuda.DriverSupport.LIMITED),
        ("560.28.03", (12, 6), cuda.DriverSupport.FULL),
        ("580.159.04", (12, 1), cuda.DriverSupport.FULL),
        ("570.0", (13, 0), cuda.DriverSupport.TOO_OLD),
        ("550.54.14", (11, 8), cuda.DriverSupport.UNKNOWN),
        ("unknown", (12, 1), cuda.DriverSupport.UNKNOWN),
    ],
)
def test_drivers_are_compared_number_by_number_with_what_a_cuda_needs(driver, version, fit):
    assert cuda.driver_support(driver, version) is fit


def test_the_driver_table_rises_with_cuda_and_stands_on_its_floor():
    shipped = [parse(cuda.SHIPPED[v]) for v in sorted(cuda.SHIPPED)]
    assert shipped == sorted(shipped)
    assert all(cuda.SHIPPED[major, 0] == floor for major, floor in cuda.FLOOR.items())


@pytest.mark.parametrize(
    ("version", "cves"),
    [
        ((1, 16, 1), 5), ((1, 16, 2), 4), ((1, 17, 3), 4), ((1, 17, 4), 3), ((1, 17, 8), 1), ((1, 18), 1),
        ((1, 19, 0), 1), ((1, 19, 1), 0), ((1, 20, 0), 0), ((2, 0, 0), 0),
    ],
)  # fmt: skip
def test_each_escape_is_open_until_the_version_that_closed_it(version, cves):
    assert len(toolkit.open_escapes(version)) == cves


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("NVIDIA Container Toolkit CLI version 1.17.8\ncommit: f202b80a9b9d\n", (1, 17, 8)),
        ("NVIDIA Container Toolkit CLI version 1.19.1-rc.2\n", (1, 19, 0)),
        ("NVIDIA Container Toolkit CLI version 1.18.0-rc.1\n", (1, 18)),
        ("nvidia-ctk: unknown flag", None),
        ("", None),
    ],
)
def test_the_toolkits_version_is_read_and_a_candidate_does_not_count_as_the_release(said, version):
    assert toolkit.parse_output(said) == version


def test_a_toolkit_that_does_not_answer_has_no_version(monkeypatch, tmp_path):
    monkeypatch.setattr(toolkit, "COMMAND", str(tmp_path / "nvidia-ctk"))
    assert toolkit.installed() is None
    (tmp_path / "nvidia-ctk").write_text("#!/bin/sh\necho 'NVIDIA Container Toolkit CLI version 1.18.2'\n")
    (tmp_path / "nvidia-ctk").chmod(0o755)
    assert toolkit.installed() == (1, 18, 2)
