"""The driver's files are found where the linker has them; what is missing has its fix. The tree is FAKE."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath

import pytest

from kit.core.errors import PrerequisiteError
from kit.gpu import driver
from kit.gpu.driver import ELF, INSIDE, DriverFiles, environment, find_driver_files

LIBRARIES = ("libcuda.so", "libnvidia-ml.so", "libnvidia-ptxjitcompiler.so")
DEVICES = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia0", "nvidia1")


def program(path: Path, begins: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(begins)
    path.chmod(0o755)


@pytest.fixture
def tree(tmp_path):
    """A fake driver 550.54.15: libraries behind links, nvidia-smi, devices that are links to /dev/null."""
    for folder in ("lib", "bin", "dev"):
        (tmp_path / folder).mkdir()
    for name in LIBRARIES:
        (tmp_path / "lib" / f"{name}.550.54.15").touch()
        (tmp_path / "lib" / f"{name}.1").symlink_to(f"{name}.550.54.15")
    program(tmp_path / "bin" / "nvidia-smi", ELF)
    for name in DEVICES:
        (tmp_path / "dev" / name).symlink_to("/dev/null")
    return tmp_path


def search(tree: Path, minors=(0, 1), cache="", folders=None) -> DriverFiles:
    return find_driver_files(
        minors,
        dev=tree / "dev",
        cache=lambda: cache,
        folders=(tree / "lib",) if folders is None else folders,
        programs=str(tree / "bin"),
    )


def test_libraries_are_mounted_under_their_own_name_from_the_file_behind_the_link(tree):
    mounts = {str(inside): source.name for source, inside in search(tree).mounts()}
    assert mounts == {
        "/input/driver/bin/nvidia-smi": "nvidia-smi",
        "/input/driver/lib/libcuda.so": "libcuda.so.550.54.15",
        "/input/driver/lib/libcuda.so.1": "libcuda.so.550.54.15",
        "/input/driver/lib/libnvidia-ml.so.1": "libnvidia-ml.so.550.54.15",
        "/input/driver/lib/libnvidia-ptxjitcompiler.so.1": "libnvidia-ptxjitcompiler.so.550.54.15",
    }


def test_devices_keep_the_numbers_that_the_kernel_gave_them(tree):
    null = os.stat("/dev/null").st_rdev
    found = search(tree).devices
    assert [d.name for d in found] == list(DEVICES)
    assert {(d.major, d.minor) for d in found} == {(os.major(null), os.minor(null))}


def test_gpus_come_in_the_order_of_the_ranks(tree):
    assert [d.name for d in search(tree, minors=(1, 0)).devices[-2:]] == ["nvidia1", "nvidia0"]


def test_the_linkers_cache_goes_before_the_usual_folders_and_its_first_entry_wins(tree):
    other = tree / "other"
    other.mkdir()
    (other / "libcuda.so.1").touch()
    cache = (
        "3 libs found in cache `/etc/ld.so.cache'\n"
        f"\tlibcuda.so.1 (libc6) => {tree}/i386/libcuda.so.1\n"
        f"\tlibcuda.so.1 (libc6,x86-64) => {other}/libcuda.so.1\n"
        f"\tlibcuda.so.1 (libc6,x86-64, OS ABI: Linux 2.3.99) => {tree}/lib/libcuda.so.1\n"
    )
    assert search(tree, cache=cache).libraries[0].path == other / "libcuda.so.1"


@pytest.mark.parametrize(
    ("missing", "fix"),
    [
        ("lib/libcuda.so.1", "libnvidia-compute"),
        ("lib/libnvidia-ml.so.1", "libnvidia-compute"),
        ("bin/nvidia-smi", "nvidia-utils"),
        ("dev/nvidiactl", "nvidia-smi"),
        ("dev/nvidia-uvm", "nvidia-modprobe -u"),
        ("dev/nvidia1", "nvidia-smi"),
    ],
)
def test_a_missing_file_is_named_with_what_brings_it(tree, missing, fix):
    (tree / missing).unlink()
    with pytest.raises(PrerequisiteError) as refused:
        search(tree)
    assert Path(missing).name in refused.value.message and fix in refused.value.hint


@pytest.mark.parametrize("optional", ["lib/libnvidia-ptxjitcompiler.so.1", "dev/nvidia-uvm-tools"])
def test_what_not_every_driver_has_may_be_missing(tree, optional):
    (tree / optional).unlink()
    assert Path(optional).name not in str(search(tree))


def test_a_file_where_a_device_should_be_is_refused(tree):
    (tree / "dev" / "nvidia0").unlink()
    (tree / "dev" / "nvidia0").touch()
    with pytest.raises(PrerequisiteError, match="not a device"):
        search(tree)


def test_the_guests_paths_lead_to_the_driver_and_keep_what_was_there():
    env = dict(environment((("PATH", "/usr/bin"), ("LD_LIBRARY_PATH", "/opt/lib"), ("A", "1"))))
    assert env == {
        "A": "1",
        "LD_LIBRARY_PATH": f"{INSIDE}/lib:/opt/lib",
        "PATH": f"/usr/bin:{INSIDE}/bin",
        "TRITON_LIBCUDA_PATH": f"{INSIDE}/lib",
    }


def test_the_driver_lies_below_a_tmpfs_of_the_guest():
    assert INSIDE.is_relative_to(PurePosixPath("/input"))


def test_a_machine_without_a_linkers_cache_is_searched_by_folder(tree):
    assert json.dumps([lib.soname for lib in search(tree, cache="").libraries])
    with pytest.raises(PrerequisiteError, match=r"libcuda\.so\.1"):
        search(tree, cache="", folders=())


def test_a_folder_whose_name_is_no_utf8_spoils_no_linker_cache(program, monkeypatch):
    ldconfig = program("ldconfig", "printf '\\tlibx.so.1 (libc6,x86-64) => /opt/caf\\351/libx.so.1\\n'")
    monkeypatch.setattr(driver.shutil, "which", lambda *_, **__: str(ldconfig))
    assert driver.CACHED.findall(driver.linker_cache()) == [
        ("libx.so.1", os.fsdecode(b"/opt/caf\xe9/libx.so.1"))
    ]


def test_a_wrapper_script_is_passed_over_for_the_program_that_it_starts(tree):
    program(tree / "wrapper" / "nvidia-smi", b"#!/bin/sh\nexec /opt/driver/nvidia-smi\n")
    files = find_driver_files(
        (0,), tree / "dev", lambda: "", (tree / "lib",), f"{tree}/none:{tree}/wrapper:{tree}/bin"
    )
    assert files.smi == tree / "bin" / "nvidia-smi"


def test_a_wrapper_script_alone_is_refused_by_its_path(tree):
    program(tree / "bin" / "nvidia-smi", b"#!/bin/sh\n")
    with pytest.raises(PrerequisiteError) as refused:
        search(tree)
    assert f"{tree}/bin/nvidia-smi is a wrapper script" in refused.value.message
