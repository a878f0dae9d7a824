"""The OCI configuration of a run on eight GPUs, byte for byte as committed. GPUs and driver are fake."""

from __future__ import annotations

import json
from pathlib import Path

import eight_gpus
import pytest

from kit.core.errors import RunError
from kit.sandbox.runtime import oci
from kit.sandbox.runtime.port import driver_of
from kit.values.run_spec import GpuDevice

ASSETS = Path(__file__).parents[2] / "assets" / "run"


@pytest.fixture(scope="module")
def golden():
    return {p.name: json.loads(p.read_text()) for p in sorted(ASSETS.glob("*.oci.json"))}


def test_the_committed_configurations_are_what_the_code_makes():
    made = eight_gpus.documents()
    assert sorted(made) == sorted(p.name for p in ASSETS.glob("*.oci.json"))
    for name, text in made.items():
        assert (ASSETS / name).read_text() == text, "renew with: python tests/assets/eight_gpus.py"


def test_the_device_group_allows_exactly_the_devices_that_are_made(golden):
    linux = golden["eight-gpus.oci.json"]["linux"]
    made = {(d["major"], d["minor"]) for d in linux["devices"]}
    first, *rules = linux["resources"]["devices"]
    assert first == {"allow": False, "access": "rwm"}
    assert {(r["major"], r["minor"]) for r in rules} == made and len(made) == 11
    assert all(r["allow"] and r["type"] == "c" and r["access"] == "rw" for r in rules)


def test_no_device_but_the_gpus_and_their_control_is_made(golden):
    for document in golden.values():
        paths = {d["path"] for d in document["linux"]["devices"]}
        assert paths == {f"/dev/nvidia{n}" for n in range(8)} | {
            "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools",
        }  # fmt: skip


def test_every_file_of_the_driver_is_mounted_read_only_and_after_its_tmpfs(golden):
    for document in golden.values():
        order = [m["destination"] for m in document["mounts"]]
        driver = [m for m in document["mounts"] if m["destination"].startswith("/input/driver/")]
        assert len(driver) == 6
        assert all({"ro", "nosuid", "nodev"} <= set(m["options"]) and m["type"] == "bind" for m in driver)
        assert all("noexec" not in m["options"] for m in driver), "libraries are mapped executable"
        assert all(order.index("/input") < order.index(m["destination"]) for m in driver)


def test_the_guest_finds_libcuda_and_nvidia_smi_and_sees_its_own_gpus(golden):
    env = dict(e.split("=", 1) for e in golden["eight-gpus.oci.json"]["process"]["env"])
    assert env["TRITON_LIBCUDA_PATH"] == env["LD_LIBRARY_PATH"] == "/input/driver/lib"
    assert env["PATH"].split(":")[-1] == "/input/driver/bin"
    assert env["CUDA_VISIBLE_DEVICES"] == env["NVIDIA_VISIBLE_DEVICES"]
    assert len(set(env["CUDA_VISIBLE_DEVICES"].split(","))) == 8


def test_eight_ranks_meet_on_loopback(golden):
    args = golden["eight-gpus.oci.json"]["process"]["args"]
    start = args.index("torchrun")
    assert args[start : start + 6] == [
        "torchrun", "--nnodes=1", "--nproc_per_node=8", "--master_addr=127.0.0.1", "--master_port=29500",
        "train_gpt2.py",
    ]  # fmt: skip
    assert "--standalone" not in args


def test_memory_may_be_locked_as_far_as_the_machine_lets(golden):
    def locked(name):
        limits = golden[name]["process"]["rlimits"]
        return next(r["hard"] for r in limits if r["type"] == "RLIMIT_MEMLOCK")

    memory = golden["eight-gpus.oci.json"]["linux"]["resources"]["memory"]["limit"]
    assert locked("eight-gpus.oci.json") == memory
    assert locked("eight-gpus-rootless.oci.json") == 8 << 20


def test_gpus_loosen_nothing_else():
    spec = eight_gpus.eight_gpus()
    box = eight_gpus.boxes(spec)["eight-gpus.oci.json"]
    with_gpus = json.loads(oci.config(spec, box))
    without = json.loads(oci.config(spec, oci.ContainerSettings(box.rootfs, cgroup=box.cgroup)))
    for key in ("capabilities", "noNewPrivileges", "user", "oomScoreAdj"):
        assert with_gpus["process"][key] == without["process"][key]
    for key in ("seccomp", "namespaces", "maskedPaths", "readonlyPaths"):
        assert with_gpus["linux"][key] == without["linux"][key]
    assert with_gpus["root"] == without["root"]


def test_a_guest_without_gpus_gets_no_device_and_no_file_of_the_driver():
    spec = eight_gpus.eight_gpus()
    document = json.loads(oci.config(spec, oci.ContainerSettings(Path("/store/rootfs"), cgroup="/x")))
    assert "devices" not in document["linux"]
    assert document["linux"]["resources"]["devices"] == [{"allow": False, "access": "rwm"}]
    assert "/input/driver" not in json.dumps(document)


def test_a_number_of_gpus_without_their_names_is_refused():
    from dataclasses import replace

    spec = eight_gpus.eight_gpus()
    with pytest.raises(RunError, match="wrong number of selected GPUs: 1, expected 8"):
        driver_of(replace(spec, gpu_devices=(GpuDevice("GPU-0", 0),)))
    assert driver_of(replace(spec, gpus=0, gpu_devices=())) is None
