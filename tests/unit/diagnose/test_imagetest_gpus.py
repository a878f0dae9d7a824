"""Which GPUs a self-test gives its guest, and the reason if none. All GPUs here are fake."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_gpus import fake_files, fake_inventory, fake_sources

from kit.core.errors import PrerequisiteError, RunError, UsageError
from kit.diagnose.imagetest.run import choose_gpus
from kit.gpu.nvml import NO_DRIVER
from kit.gpu.preflight import NO_GPUS
from kit.values.run_spec import RuntimeName

CUDA = (12, 1)


def choose(seen, wanted=None, cuda=CUDA, runtime=RuntimeName.RUNC, **sources):
    return choose_gpus(cuda, runtime, fake_sources(seen, **sources), wanted)


def closed(minors):
    files = fake_files(minors)
    return replace(files, devices=tuple(replace(device, mode=0o600) for device in files.devices))


def test_a_cuda_image_gets_every_gpu_that_is_here():
    ready, reason = choose(fake_inventory(2))
    assert (len(ready.gpus), reason) == (2, None)


@pytest.mark.parametrize(
    ("seen", "options", "reason"),
    [
        (NO_DRIVER, {}, "this machine has no NVIDIA GPU"),
        (fake_inventory(), {"cuda": None}, "the image has no CUDA"),
        (fake_inventory(), {"wanted": 0}, "disabled by --gpus 0"),
        (fake_inventory(driver="515.105.01"), {}, "is too old: CUDA 12.1 needs"),
        (fake_inventory(mig=True), {}, "MIG mode is enabled"),
        (RunError("NVML does not answer"), {}, "NVML does not answer"),
        (fake_inventory(), {"runtime": RuntimeName.DOCKER, "files": closed}, "cannot open /dev/nvidiactl"),
    ],
)
def test_a_guest_without_gpus_has_a_reason(seen, options, reason):
    ready, said = choose(seen, **options)
    assert ready == NO_GPUS and reason in (said or "")


def test_gpus_that_were_asked_for_and_are_not_fit_are_refused():
    with pytest.raises(PrerequisiteError, match="the run needs 4 GPUs, this machine has 2"):
        choose(fake_inventory(2), wanted=4)
    with pytest.raises(PrerequisiteError, match=r"is too old: CUDA 12\.1 needs driver"):
        choose(fake_inventory(driver="515.105.01"), wanted=8)
    with pytest.raises(UsageError, match="no CUDA"):
        choose(fake_inventory(), wanted=1, cuda=None)
