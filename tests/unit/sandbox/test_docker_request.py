"""What Docker and Podman are asked for, to the letter."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path, PurePosixPath

import eight_gpus
import pytest
from fake_gpus import fake_files

from kit.core.digest import Sha256, canonical_json
from kit.sandbox.engine import EngineName
from kit.sandbox.runtime import hidden, oci, seccomp
from kit.sandbox.runtime.dockerconfig import EngineSettings, request
from kit.values.run_spec import GIB, GpuDevice, ImageRef, Limits, Mount, RunSpec

ID = "sha256:" + "a" * 64
SPEC = RunSpec(
    run_id="r03-20261123T170000Z-00000000",
    image=ImageRef("cpu", Sha256("a" * 64), Sha256("b" * 64)),
    submission=Path("/runs/x/submission"),
    argv=("torchrun", "--nproc_per_node=8", "train_gpt2.py", "--lr", "0.1", "a b", "$(id)"),
    env=(("HOME", "/workspace"), ("PATH", "/usr/bin")),
    folders=("data", "logs/final"),
    mounts=(Mount(Path("/data/fineweb"), PurePosixPath("/workspace/data/fineweb10B")),),
    limits=Limits(memory=8 * GIB, pids=512, open_files=65536),
    world_size=8,
)
EIGHT = replace(
    SPEC,
    gpus=8,
    gpu_devices=tuple(GpuDevice(f"GPU-{n}", n) for n in range(8)),
    limits=Limits(memory=900 * GIB),
)
FILES = fake_files(tuple(range(8)))
PROFILE = canonical_json(seccomp.profile()).decode()
DOCKER = EngineSettings(EngineName.DOCKER, ID)
PODMAN = EngineSettings(EngineName.PODMAN, ID, processes=32768, seccomp=Path("/runs/x/seccomp.json"))


def asked(spec: RunSpec = SPEC, terms: EngineSettings = DOCKER) -> dict:
    return json.loads(request(spec, terms))


def test_the_whole_request_of_a_run_without_gpus():
    document = asked()
    host = document.pop("HostConfig")
    command = document.pop("Cmd")
    assert document == {
        "Image": ID,
        "Entrypoint": ["/bin/sh"],
        "Env": ["HOME=/workspace", "PATH=/usr/bin"],
        "WorkingDir": "/workspace",
        "User": "65532:65532",
        "Hostname": "localhost",
        "AttachStdin": False,
        "AttachStdout": True,
        "AttachStderr": True,
        "OpenStdin": False,
        "Tty": False,
        "Labels": {"speedrun-kit.run": "r03-20261123T170000Z-00000000"},
    }
    assert command[0] == "-c" and command[2:] == [
        "guest", "/input/submission", "2", "data", "logs/final",
        "torchrun", "--nproc_per_node=8", "train_gpt2.py", "--lr", "0.1", "a b", "$(id)",
    ]  # fmt: skip
    assert host == {
        "ReadonlyRootfs": True,
        "NetworkMode": "none",
        "IpcMode": "private",
        "CgroupnsMode": "private",
        "Privileged": False,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges", f"seccomp={PROFILE}"],
        "MaskedPaths": list(hidden.MASKED),
        "ReadonlyPaths": ["/proc/bus", "/proc/sys", "/proc/sysrq-trigger"],
        "Init": False,
        "AutoRemove": False,
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {"Type": "none", "Config": {}},
        "OomScoreAdj": 500,
        "Memory": 8 * GIB,
        "MemorySwap": 8 * GIB,
        "PidsLimit": 512,
        "ShmSize": 8 * GIB,
        "Tmpfs": {
            "/tmp": f"rw,exec,nosuid,nodev,size={16 * GIB},mode=1777",
            "/input": "rw,noexec,nosuid,nodev,size=65536,mode=755",
            "/workspace": f"rw,exec,nosuid,nodev,size={4 * GIB},mode=700,uid=65532,gid=65532",
        },
        "Mounts": [
            bind("/runs/x/submission", "/input/submission"),
            bind("/data/fineweb", "/workspace/data/fineweb10B"),
        ],
        "Ulimits": [
            {"Name": "core", "Soft": 0, "Hard": 0},
            {"Name": "nofile", "Soft": 65536, "Hard": 65536},
        ],
    }


def bind(source: str, target: str) -> dict:
    return {
        "Type": "bind", "Source": source, "Target": target, "ReadOnly": True,
        "BindOptions": {"Propagation": "rprivate"},
    }  # fmt: skip


def device(name: str) -> dict:
    return {"PathOnHost": f"/dev/{name}", "PathInContainer": f"/dev/{name}", "CgroupPermissions": "rw"}


def test_eight_gpus_are_asked_for_one_by_one_and_nothing_else_changes():
    with_gpus = asked(EIGHT, replace(DOCKER, driver=FILES))
    without = asked(replace(EIGHT, gpus=0, gpu_devices=()))
    host = with_gpus["HostConfig"]
    assert host.pop("Devices") == [
        *(device(name) for name in ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools")),
        *(device(f"nvidia{n}") for n in range(8)),
    ]
    assert host.pop("Runtime") == "runc", "a default runtime of NVIDIA's would mount the driver by its hook"
    added, host["Mounts"] = host["Mounts"][:6], host["Mounts"][6:]
    assert added == [bind(str(source), str(target)) for source, target in FILES.mounts()]
    host["Ulimits"].remove({"Name": "memlock", "Soft": 900 * GIB, "Hard": 900 * GIB})
    with_gpus["Env"].remove("LD_LIBRARY_PATH=/input/driver/lib")
    with_gpus["Env"].remove("TRITON_LIBCUDA_PATH=/input/driver/lib")
    with_gpus["Env"][with_gpus["Env"].index("PATH=/usr/bin:/input/driver/bin")] = "PATH=/usr/bin"
    assert with_gpus == without


@pytest.mark.parametrize("terms", [DOCKER, PODMAN], ids=["docker", "podman"])
def test_an_engines_guest_gets_the_devices_the_files_and_the_environment_of_runcs(terms):
    spec = eight_gpus.eight_gpus()
    box = eight_gpus.boxes(spec)["eight-gpus.oci.json"]
    runc, engine = json.loads(oci.config(spec, box)), asked(spec, replace(terms, driver=box.driver))

    deny, *rules = runc["linux"]["resources"]["devices"]
    access = {(rule["major"], rule["minor"]): rule["access"] for rule in rules}
    made = [(d["path"], access[d["major"], d["minor"]]) for d in runc["linux"]["devices"]]
    asked_for = engine["HostConfig"]["Devices"]
    assert [(d["PathInContainer"], d["CgroupPermissions"]) for d in asked_for] == made
    assert all(d["PathOnHost"] == d["PathInContainer"] for d in asked_for)
    assert len(made) == len(rules) == 11 and deny == {"allow": False, "access": "rwm"}
    assert not {"DeviceRequests", "DeviceCgroupRules"} & set(engine["HostConfig"])

    binds = [m for m in runc["mounts"] if m["type"] == "bind"]
    assert [(m["Source"], m["Target"]) for m in engine["HostConfig"]["Mounts"]] == [
        (m["source"], m["destination"]) for m in binds
    ]
    assert all(m["ReadOnly"] for m in engine["HostConfig"]["Mounts"])
    assert all("ro" in m["options"] for m in binds)

    assert engine["Env"] == runc["process"]["env"]
    assert [*engine["Entrypoint"], *engine["Cmd"]] == runc["process"]["args"]


def test_podman_keeps_its_own_runtime_and_gets_the_profile_as_a_file():
    host = asked(EIGHT, replace(PODMAN, driver=FILES))["HostConfig"]
    assert "Runtime" not in host and len(host["Devices"]) == 11
    assert host["SecurityOpt"][:2] == ["no-new-privileges", "seccomp=/runs/x/seccomp.json"]
    assert {"Name": "nproc", "Soft": 32768, "Hard": 32768} in host["Ulimits"]


def test_podman_takes_masks_as_options_and_none_with_a_colon():
    terms = replace(PODMAN, masked=("/proc/stat", "/sys/devices/pci0000:00/block/sda", "/sys/fs"))
    host = asked(terms=terms)["HostConfig"]
    assert host["SecurityOpt"][2:] == ["mask=/proc/stat:/sys/fs"]
    assert not {"MaskedPaths", "ReadonlyPaths"} & set(host)


def test_docker_masks_what_the_machine_has_on_top():
    terms = replace(DOCKER, masked=("/proc/stat", "/sys/devices/pci0000:00/block/sda"))
    assert asked(terms=terms)["HostConfig"]["MaskedPaths"] == list(terms.masked)


def test_podmans_tmpfs_has_no_owner_and_is_writable_for_the_guest():
    assert asked(terms=PODMAN)["HostConfig"]["Tmpfs"]["/workspace"].endswith(",mode=1777")


@pytest.mark.parametrize("terms", [DOCKER, PODMAN], ids=["docker", "podman"])
def test_nothing_of_the_host_is_mounted_but_what_the_spec_names_and_that_read_only(terms):
    host = asked(terms=terms)["HostConfig"]
    assert {m["Source"] for m in host["Mounts"]} == {"/runs/x/submission", "/data/fineweb"}
    assert all(m["ReadOnly"] for m in host["Mounts"])
    assert all("nosuid,nodev" in options and "size=" in options for options in host["Tmpfs"].values())
    assert not {"Binds", "Devices", "CapAdd", "PidMode", "UsernsMode", "VolumesFrom"} & set(host)


def test_limits_are_cut_to_what_the_engine_may_grant():
    terms = replace(DOCKER, open_files=20000, locked_memory=8 << 20, driver=FILES)
    limits = {u["Name"]: u["Hard"] for u in asked(EIGHT, terms)["HostConfig"]["Ulimits"]}
    assert limits == {"core": 0, "nofile": 20000, "memlock": 8 << 20}


def test_a_limit_that_the_engine_cannot_set_is_named_and_not_asked_for():
    terms = replace(DOCKER, memory_limit=False, pids_limit=False)
    host = asked(terms=terms)["HostConfig"]
    assert not {"Memory", "MemorySwap", "PidsLimit"} & set(host)
    assert terms.not_enforced == ("memory", "pids")
    assert DOCKER.not_enforced == ()


def test_without_swap_accounting_the_memory_limit_stays():
    host = asked(terms=replace(DOCKER, swap_limit=False))["HostConfig"]
    assert host["Memory"] == 8 * GIB and "MemorySwap" not in host


def test_equal_inputs_give_equal_bytes():
    assert request(SPEC, DOCKER) == request(replace(SPEC), replace(DOCKER))
    assert request(SPEC, DOCKER) != request(replace(SPEC, run_id="r04"), DOCKER)
