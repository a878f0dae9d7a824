"""Which files of /proc and /sys a guest does not see, and that the guest's own check asks for the same."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from kit.core.facts import guest_file
from kit.sandbox.runtime import hidden


def constants(name: str) -> dict[str, Any]:
    """Return the literal constants of a guest's file."""
    found = {}
    for node in ast.parse(guest_file(name).read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


def test_the_probe_asks_for_every_path_that_is_masked():
    asked = constants("isolation_v2.py")
    assert {*asked["COUNTERS"], "/dev/pts"} == set(hidden.MASKED)
    assert asked["PER_DEVICE"] == tuple(f"/{pattern}" for pattern in hidden.PER_DEVICE)


def test_no_path_comes_twice_and_none_is_below_another():
    assert list(hidden.MASKED) == sorted(set(hidden.MASKED))
    for path in hidden.MASKED:
        assert not [p for p in hidden.MASKED if p.startswith(f"{path}/")]
        assert path not in hidden.READ_ONLY


def test_what_the_machine_has_is_added(tmp_path: Path):
    cpus, pci, virtual = (
        "sys/devices/system/cpu",
        "sys/devices/pci0000:00/block/sda",
        "sys/devices/virtual/block/loop0",
    )
    for name in (f"{cpus}/cpu0/cpuidle", f"{cpus}/cpu11/cpuidle", f"{cpus}/cpufreq", pci, virtual):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "sys/block").mkdir()
    (tmp_path / "sys/block/sda").symlink_to(tmp_path / pci)
    (tmp_path / "sys/block/loop0").symlink_to(tmp_path / virtual)
    more = {f"/{pci}", f"/{cpus}/cpu0/cpuidle", f"/{cpus}/cpu11/cpuidle"}
    assert hidden.masked(tmp_path) == tuple(sorted({*hidden.MASKED, *more}))


def test_what_libraries_read_stays():
    for needed in ("/proc/cpuinfo", "/proc/meminfo", "/proc/modules", "/proc/devices", "/proc/driver/nvidia"):
        assert needed not in hidden.MASKED
    for needed in (
        "/sys/devices/system/cpu/online",
        "/sys/devices/system/node/node0/cpumap",
        "/sys/class/net",
    ):
        assert not needed.startswith(tuple(f"{path}/" for path in hidden.MASKED))
