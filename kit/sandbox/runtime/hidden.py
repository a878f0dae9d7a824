"""
Paths in /proc and /sys that show what the host and other guests do; every runtime masks them.

What a guest's libraries need stays readable: memory sizes, CPU and NUMA topology, PCI, modules, GPU driver.
"""

from __future__ import annotations

from pathlib import Path

MASKED = (
    "/dev/pts", "/proc/acpi", "/proc/allocinfo", "/proc/asound", "/proc/buddyinfo", "/proc/cgroups",
    "/proc/crypto", "/proc/diskstats", "/proc/fs", "/proc/interrupts", "/proc/irq", "/proc/kcore",
    "/proc/key-users", "/proc/keys", "/proc/latency_stats", "/proc/loadavg", "/proc/locks", "/proc/mdstat",
    "/proc/pagetypeinfo", "/proc/partitions", "/proc/pressure", "/proc/sched_debug", "/proc/schedstat",
    "/proc/scsi", "/proc/slabinfo", "/proc/softirqs", "/proc/stat", "/proc/swaps", "/proc/sys/fs/aio-nr",
    "/proc/sys/fs/dentry-state", "/proc/sys/fs/file-nr", "/proc/sys/fs/inode-nr", "/proc/sys/fs/inode-state",
    "/proc/sys/fs/quota", "/proc/sys/kernel/pty", "/proc/timer_list", "/proc/timer_stats", "/proc/uptime",
    "/proc/vmallocinfo", "/proc/vmstat", "/proc/zoneinfo", "/sys/block", "/sys/class/bdi", "/sys/class/block",
    "/sys/class/hwmon", "/sys/class/powercap", "/sys/class/thermal", "/sys/dev/block",
    "/sys/devices/system/cpu/cpufreq", "/sys/devices/virtual/bdi", "/sys/devices/virtual/block",
    "/sys/devices/virtual/hwmon", "/sys/devices/virtual/powercap", "/sys/devices/virtual/thermal",
    "/sys/firmware", "/sys/fs", "/sys/kernel/debug", "/sys/kernel/irq", "/sys/kernel/security",
    "/sys/kernel/slab", "/sys/kernel/tracing", "/sys/kernel/uevent_seqnum",
)  # fmt: skip
"""Masked on every machine; runtimes skip missing paths. /dev/pts: training opens no pseudo-terminal."""
READ_ONLY = ("/proc/bus", "/proc/sys", "/proc/sysrq-trigger")

PER_DEVICE = (
    "sys/devices/system/cpu/cpu[0-9]*/cpuidle",
    "sys/devices/system/cpu/cpu[0-9]*/thermal_throttle",
    "sys/devices/system/node/node[0-9]*/numastat",
    "sys/devices/system/node/node[0-9]*/vmstat",
)
"""Patterns of further paths, one for each device of the machine."""


def masked(root: Path = Path("/")) -> tuple[str, ...]:
    """Return every path to mask on this machine, sorted."""
    found = {f"/{path.relative_to(root)}" for pattern in PER_DEVICE for path in root.glob(pattern)}
    disks = (link.resolve() for link in root.glob("sys/block/*"))
    found |= {f"/{disk.relative_to(root)}" for disk in disks if disk.is_relative_to(root)}
    covered = tuple(f"{path}/" for path in MASKED)
    return tuple(sorted({*MASKED, *(path for path in found if not path.startswith(covered))}))
