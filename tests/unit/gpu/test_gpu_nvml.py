"""What NVIDIA's binding says becomes the kit's values. The binding is real, the driver under it is fake."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from kit.core.errors import PrerequisiteError, RunError
from kit.gpu.nvml import NOTHING, Driver, Fabric, GpuProcess

pynvml = pytest.importorskip("pynvml")


class FakeBinding:
    """The real module's constants and errors; functions of a driver with one H100 that is busy and cut up."""

    def __init__(self, **replaced) -> None:
        answers = {
            "nvmlInit": lambda: None,
            "nvmlShutdown": lambda: None,
            "nvmlDeviceGetCount": lambda: 1,
            "nvmlSystemGetDriverVersion": lambda: "550.54.15",
            "nvmlDeviceGetHandleByIndex": lambda i: i,
            "nvmlDeviceGetName": lambda h: "NVIDIA H100 80GB HBM3",
            "nvmlDeviceGetUUID": lambda h: "GPU-0",
            "nvmlDeviceGetMinorNumber": lambda h: 3,
            "nvmlDeviceGetMemoryInfo": lambda h, v=None: SimpleNamespace(total=80, used=1 if v else 9),
            "nvmlDeviceGetMigMode": lambda h: [1, 1],
            "nvmlDeviceGetComputeRunningProcesses": lambda h: [SimpleNamespace(pid=7, usedGpuMemory=None)],
            "nvmlDeviceGetGpuFabricInfoV": self._fabric(pynvml.NVML_GPU_FABRIC_STATE_IN_PROGRESS),
            **replaced,
        }
        assert all(hasattr(pynvml, name) for name in answers), "the binding has no such function"
        self._answers = answers

    @staticmethod
    def _fabric(state):
        def answer(handle, reference):
            reference._obj.state = state
            return 0

        return answer

    def __getattr__(self, name):
        return self._answers[name] if name in self._answers else getattr(pynvml, name)


def refuse(code):
    def answer(*_):
        raise pynvml.NVMLError(code)

    return answer


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """A loaded driver whose binding is what the test says."""
    sign = tmp_path / "version"
    sign.touch()

    def load(**replaced):
        monkeypatch.setitem(sys.modules, "pynvml", FakeBinding(**replaced))
        return Driver((sign,))

    return load


def test_every_field_is_read_from_the_driver(driver):
    seen = driver().read()
    (gpu,) = seen.gpus
    assert seen.driver == "550.54.15"
    assert (gpu.name, gpu.uuid, gpu.minor) == ("NVIDIA H100 80GB HBM3", "GPU-0", 3)
    assert gpu.mig is True and gpu.fabric is Fabric.PENDING and gpu.processes == (GpuProcess(7, None),)


def test_what_the_driver_keeps_for_itself_is_not_counted_where_it_tells_them_apart(driver):
    assert driver().read().gpus[0].used == 1
    code = pynvml.NVML_ERROR_FUNCTION_NOT_FOUND

    def old(handle, version=None):
        if version:
            raise pynvml.NVMLError(code)
        return SimpleNamespace(total=80, used=9)

    assert driver(nvmlDeviceGetMemoryInfo=old).read().gpus[0].used == 9


def test_a_gpu_that_knows_neither_mig_nor_fabric_has_neither(driver):
    unknown = refuse(pynvml.NVML_ERROR_NOT_SUPPORTED)
    (gpu,) = driver(nvmlDeviceGetMigMode=unknown, nvmlDeviceGetGpuFabricInfoV=unknown).read().gpus
    assert gpu.mig is False and gpu.fabric is Fabric.NONE


@pytest.mark.parametrize(
    ("state", "fabric"),
    [
        (pynvml.NVML_GPU_FABRIC_STATE_NOT_SUPPORTED, Fabric.NONE),
        (pynvml.NVML_GPU_FABRIC_STATE_NOT_STARTED, Fabric.PENDING),
        (pynvml.NVML_GPU_FABRIC_STATE_COMPLETED, Fabric.READY),
    ],
)
def test_the_fabrics_state_is_told_in_three_words(driver, state, fabric):
    answer = FakeBinding._fabric(state)
    assert driver(nvmlDeviceGetGpuFabricInfoV=answer).read().gpus[0].fabric is fabric


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "reboot"),
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "libnvidia-compute"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "modprobe"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "/dev/nvidiactl"),
        (pynvml.NVML_ERROR_UNKNOWN, "nvidia-smi"),
    ],
)
def test_a_driver_that_does_not_answer_is_an_error_with_its_fix(driver, code, fix):
    with pytest.raises(PrerequisiteError) as refused:
        driver(nvmlInit=refuse(code)).read()
    assert fix in refused.value.hint


def test_a_gpu_that_is_lost_while_it_is_asked_is_the_drivers_failure(driver):
    with pytest.raises(RunError, match="GPU is lost"):
        driver(nvmlDeviceGetName=refuse(pynvml.NVML_ERROR_GPU_IS_LOST)).read()


def test_a_machine_without_a_driver_has_no_gpus_and_needs_no_binding(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert Driver((tmp_path / "absent",)).read() == NOTHING


def test_a_driver_without_the_binding_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    (tmp_path / "version").touch()
    with pytest.raises(PrerequisiteError) as refused:
        Driver((tmp_path / "version",)).read()
    assert refused.value.hint.endswith("-m pip install -e '.[gpu]'")
