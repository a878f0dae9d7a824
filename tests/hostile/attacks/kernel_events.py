#: title = "Listens to the kernel's device events and reads what other guests and the host do from its counters"
#: kind = "containment"
#: base = "none"
#: patterns = [20]
#: expect = "contained"
#: by = []
#: status = "completed"
#: note = "Figures that libraries need stay: memory sizes, load averages of sysinfo(2)."
#: fast = true
import os, socket

COUNTERS = (
    "/proc/stat",
    "/proc/loadavg",
    "/proc/uptime",
    "/proc/interrupts",
    "/proc/softirqs",
    "/proc/diskstats",
    "/proc/vmstat",
    "/proc/zoneinfo",
    "/proc/buddyinfo",
    "/proc/pressure/cpu",
    "/proc/locks",
    "/proc/key-users",
    "/proc/sys/fs/file-nr",
    "/proc/sys/fs/inode-nr",
    "/proc/sys/fs/aio-nr",
    "/proc/sys/kernel/pty/nr",
    "/sys/kernel/uevent_seqnum",
    "/sys/fs/cgroup/memory.current",
    "/sys/devices/system/cpu/cpu0/cpuidle/state0/usage",
)
if os.environ["RANK"] == "0":
    for protocol in range(1, 32):
        for kind in (2, 3):
            try:
                s = socket.socket(socket.AF_NETLINK, kind, protocol)
                print("ESCAPED: opened netlink", protocol, flush=True)
                s.bind((0, 1))
                print("ESCAPED: listens to netlink", protocol, flush=True)
            except OSError:
                pass
    for path in COUNTERS:
        try:
            if open(path).read():
                print("ESCAPED: reads", path, flush=True)
        except OSError:
            pass
    print("asked", flush=True)
