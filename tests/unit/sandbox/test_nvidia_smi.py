"""A run with GPUs starts only if nvidia-smi answers inside its container and lists them."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_guest import FakeRuntime, PipeGuest, Stderr

from kit.core.errors import PrerequisiteError
from kit.sandbox.folder import new_run_id
from kit.sandbox.smi_probe import require_nvidia_smi
from kit.values.run_spec import GpuDevice, Limits, Mount, RunSpec

UUIDS = ("GPU-aaaa", "GPU-bbbb")
LISTED = b"GPU 0: NVIDIA H200 (UUID: GPU-aaaa)\nGPU 1: NVIDIA H200 (UUID: GPU-bbbb)\n"


class Recording(FakeRuntime):
    """Keeps the spec of the guest that it starts."""

    def start(self, spec, scratch):
        self.spec = spec
        return super().start(spec, scratch)


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    return RunSpec(
        run_id=new_run_id(3),
        image=None,
        submission=tmp_path,
        argv=("torchrun", "train_gpt2.py"),
        env=(("PATH", "/usr/bin"),),
        mounts=(Mount(tmp_path, Path("/workspace/data")),),
        limits=Limits(memory=1),
        gpus=2,
        gpu_devices=tuple(GpuDevice(uuid, n) for n, uuid in enumerate(UUIDS)),
    )


def test_one_that_lists_the_gpus_of_the_run_is_enough(spec, tmp_path):
    runtime = Recording(lambda: PipeGuest([LISTED]))
    require_nvidia_smi(runtime, spec, tmp_path)
    assert (runtime.spec.argv, runtime.spec.mounts) == (("nvidia-smi", "-L"), ())
    assert runtime.spec.submission != spec.submission
    assert (runtime.spec.env, runtime.spec.gpu_devices) == (spec.env, spec.gpu_devices)


def test_a_wrapper_script_whose_binary_is_missing_inside_is_named(spec, tmp_path):
    said = Stderr(b"exec: /opt/driver/bin/nvidia-smi: not found\n")
    with pytest.raises(PrerequisiteError) as e:
        require_nvidia_smi(FakeRuntime(lambda: PipeGuest([said], exit_code=127)), spec, tmp_path)
    assert e.value.message.startswith("nvidia-smi does not answer inside the container: ")
    assert "/opt/driver/bin/nvidia-smi: not found" in e.value.message
    assert "not a wrapper script" in e.value.hint


@pytest.mark.parametrize("listed", [b"", LISTED[:36], b"NVIDIA-SMI has failed\n"])
def test_one_that_does_not_list_a_gpu_of_the_run_is_named(spec, tmp_path, listed):
    with pytest.raises(PrerequisiteError, match=r"does not list GPU GPU-[ab]{4} of the run"):
        require_nvidia_smi(FakeRuntime(lambda: PipeGuest([listed])), spec, tmp_path)
