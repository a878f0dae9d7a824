from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from kit.core.digest import Sha256
from kit.sandbox.runtime import hidden, oci, seccomp
from kit.values.run_spec import GIB, ImageRef, Limits, Mount, RunSpec

IMAGE = ImageRef("cpu", Sha256("a" * 64), Sha256("b" * 64), Path("/store/rootfs"))
SPEC = RunSpec(
    run_id="r03-20261123T170000Z-00000000",
    image=IMAGE,
    submission=Path("/runs/x/submission"),
    argv=("torchrun", "--nproc_per_node=8", "train_gpt2.py", "--lr", "0.1"),
    env=(("HOME", "/workspace"), ("PATH", "/usr/bin")),
    folders=("data", "logs/final"),
    mounts=(Mount(Path("/data/fineweb"), PurePosixPath("/workspace/data/fineweb10B")),),
    limits=Limits(memory=8 * GIB, pids=512),
    world_size=8,
)
ROOT = oci.ContainerSettings(Path("/store/rootfs"), cgroup="/speedrun-kit/r03", open_files=1 << 20)
ROOTLESS = oci.ContainerSettings(Path("/store/rootfs"), rootless_ids=(1000, 1001))


def config(spec: RunSpec = SPEC, box: oci.ContainerSettings = ROOT) -> dict:
    return json.loads(oci.config(spec, box))


def mount(document: dict, target: str) -> dict:
    return next(m for m in document["mounts"] if m["destination"] == target)


@pytest.mark.parametrize("box", [ROOT, ROOTLESS], ids=["root", "rootless"])
def test_the_guest_has_no_capability_no_new_privileges_and_a_read_only_root(box):
    document = config(box=box)
    process = document["process"]
    assert process["noNewPrivileges"] is True
    assert set(process["capabilities"]) == {"bounding", "effective", "permitted", "inheritable", "ambient"}
    assert all(held == [] for held in process["capabilities"].values())
    assert document["root"]["readonly"] is True
    assert process["rlimits"][0] == {"type": "RLIMIT_CORE", "hard": 0, "soft": 0}


def test_as_root_the_guest_is_another_user_in_its_own_cgroup():
    document = config()
    assert document["process"]["user"]["uid"] == oci.GUEST_ID != 0
    resources = document["linux"]["resources"]
    assert resources["memory"] == {"limit": 8 * GIB, "swap": 8 * GIB}
    assert resources["pids"] == {"limit": 512}
    assert resources["devices"] == [{"allow": False, "access": "rwm"}]
    assert {"type": "user"} not in document["linux"]["namespaces"]


def test_rootless_maps_one_user_and_bounds_processes_by_rlimit():
    document = config(box=ROOTLESS)
    assert {"type": "user"} in document["linux"]["namespaces"]
    assert document["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 1000, "size": 1}]
    assert document["linux"]["gidMappings"] == [{"containerID": 0, "hostID": 1001, "size": 1}]
    assert "resources" not in document["linux"]
    assert {"type": "RLIMIT_NPROC", "hard": 512, "soft": 512} in document["process"]["rlimits"]


def test_the_guest_shares_no_namespace_with_the_host():
    kinds = {n["type"] for n in config()["linux"]["namespaces"]}
    assert kinds == {"pid", "ipc", "uts", "mount", "network"}
    assert all("path" not in n for n in config()["linux"]["namespaces"])


def test_every_bind_is_read_only_and_every_writable_mount_is_sized():
    for m in config()["mounts"]:
        if m["type"] == "bind":
            assert {"ro", "nosuid", "nodev"} <= set(m["options"]), m
        if m["type"] == "tmpfs":
            assert any(o.startswith("size=") for o in m["options"]), m
            assert "nosuid" in m["options"], m


def test_triton_and_inductor_may_execute_what_they_compile():
    for target in ("/tmp", "/workspace"):
        options = mount(config(), target)["options"]
        assert "exec" in options and "noexec" not in options


def test_inputs_are_mounted_after_the_tmpfs_that_holds_them():
    order = [m["destination"] for m in config()["mounts"]]
    assert order.index("/input") < order.index("/input/submission")
    assert order.index("/workspace") < order.index("/workspace/data/fineweb10B")


def test_nothing_of_the_host_is_mounted_but_what_the_spec_names():
    sources = {m["source"] for m in config()["mounts"] if m["type"] == "bind"}
    assert sources == {"/runs/x/submission", "/data/fineweb"}


def test_the_open_files_limit_never_exceeds_what_the_machine_grants():
    box = replace(ROOT, open_files=20000)
    assert {"type": "RLIMIT_NOFILE", "hard": 20000, "soft": 20000} in config(box=box)["process"]["rlimits"]


def test_equal_inputs_give_equal_bytes():
    assert oci.config(SPEC, ROOT) == oci.config(replace(SPEC), replace(ROOT))
    assert oci.config(SPEC, ROOT) != oci.config(replace(SPEC, argv=("true",)), ROOT)


def test_arguments_reach_the_guest_unquoted_and_whole():
    spec = replace(SPEC, argv=("echo", "a b", "$(id)", "'"), folders=("x y",))
    args = config(spec)["process"]["args"]
    assert args[-4:] == ["echo", "a b", "$(id)", "'"]
    assert args[4:7] == ["/input/submission", "1", "x y"]


@pytest.mark.parametrize("box", [ROOT, ROOTLESS], ids=["root", "rootless"])
def test_the_guest_gets_the_profile_and_no_pseudo_terminal(box):
    document = config(box=box)
    assert document["linux"]["seccomp"] == seccomp.profile()
    assert "devpts" not in {m["type"] for m in document["mounts"]}


def test_the_counters_of_this_machine_are_masked():
    assert config()["linux"]["maskedPaths"] == list(hidden.MASKED)
    box = replace(ROOT, masked=("/proc/stat", "/sys/devices/pci0/block/sda"))
    assert config(box=box)["linux"]["maskedPaths"] == ["/proc/stat", "/sys/devices/pci0/block/sda"]
