"""
The checks of isolation.py, which lies beside this file, and further ones: prints one JSON object.

These ask for what no namespace covers: socket families, kernel events, watches on shared files, system calls
of other ABIs, pseudo-terminals and the machine's counters. Standard library only. It changes nothing: every
system call is one that the filter has to refuse, with arguments that the kernel would refuse as well.
"""

import ctypes
import errno
import glob
import mmap
import os
import signal
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import isolation

AF_VSOCK, AF_NETLINK = 40, 16
FAMILIES = (1, 2, 10, AF_NETLINK)
"""unix, inet, inet6 and netlink; training needs no other."""
KINDS = (1, 2, 3, 5)
"""SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET."""
LAST_FAMILY = 63
IPPROTO_SCTP, IPPROTO_MPTCP = 132, 262
NETLINK_KOBJECT_UEVENT = 15
LAST_NETLINK = 31
F_SETLEASE, F_NOTIFY, F_SETDELEG = 1024, 1026, 1040
F_UNLCK = 2
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
REFUSED = (errno.EPERM, errno.ENOSYS)
"""How the filter answers."""

WATCHES = {
    "inotify_init": 253,
    "inotify_init1": 294,
    "inotify_add_watch": 254,
    "fanotify_init": 300,
    "fanotify_mark": 301,
}
CALLS = {
    "add_key": 248,
    "bpf": 321,
    "io_getevents": 208,
    "io_pgetevents": 333,
    "io_setup": 206,
    "io_submit": 209,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "io_uring_setup": 425,
    "kcmp": 312,
    "keyctl": 250,
    "lookup_dcookie": 212,
    "memfd_secret": 447,
    "name_to_handle_at": 303,
    "open_by_handle_at": 304,
    "perf_event_open": 298,
    "personality": 135,
    "pidfd_getfd": 438,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "ptrace": 101,
    "request_key": 249,
    "userfaultfd": 323,
}
FCNTL, IOCTL = 72, 16
X32 = 0x40000000
GETPID, GETPID_32 = 39, 20
INT_80 = b"\x53\xb8" + GETPID_32.to_bytes(4, "little") + b"\xcd\x80\x5b\x48\x98\xc3"
"""push rbx; mov eax, 20; int 0x80; pop rbx; cdqe; ret"""

COUNTERS = (
    "/proc/acpi",
    "/proc/allocinfo",
    "/proc/asound",
    "/proc/buddyinfo",
    "/proc/cgroups",
    "/proc/crypto",
    "/proc/diskstats",
    "/proc/fs",
    "/proc/interrupts",
    "/proc/irq",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/loadavg",
    "/proc/locks",
    "/proc/mdstat",
    "/proc/pagetypeinfo",
    "/proc/partitions",
    "/proc/pressure",
    "/proc/sched_debug",
    "/proc/schedstat",
    "/proc/scsi",
    "/proc/slabinfo",
    "/proc/softirqs",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/fs/aio-nr",
    "/proc/sys/fs/dentry-state",
    "/proc/sys/fs/file-nr",
    "/proc/sys/fs/inode-nr",
    "/proc/sys/fs/inode-state",
    "/proc/sys/fs/quota",
    "/proc/sys/kernel/pty",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/uptime",
    "/proc/vmallocinfo",
    "/proc/vmstat",
    "/proc/zoneinfo",
    "/sys/block",
    "/sys/class/bdi",
    "/sys/class/block",
    "/sys/class/hwmon",
    "/sys/class/powercap",
    "/sys/class/thermal",
    "/sys/dev/block",
    "/sys/devices/system/cpu/cpufreq",
    "/sys/devices/virtual/bdi",
    "/sys/devices/virtual/block",
    "/sys/devices/virtual/hwmon",
    "/sys/devices/virtual/powercap",
    "/sys/devices/virtual/thermal",
    "/sys/firmware",
    "/sys/fs",
    "/sys/kernel/debug",
    "/sys/kernel/irq",
    "/sys/kernel/security",
    "/sys/kernel/slab",
    "/sys/kernel/tracing",
    "/sys/kernel/uevent_seqnum",
)
PER_DEVICE = (
    "/sys/devices/system/cpu/cpu[0-9]*/cpuidle",
    "/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle",
    "/sys/devices/system/node/node[0-9]*/numastat",
    "/sys/devices/system/node/node[0-9]*/vmstat",
)
REMAINING = (
    "/proc/meminfo",
    "/proc/modules",
    "/proc/net/protocols",
    "/proc/net/sockstat",
    "/sys/devices/system/node/node0/meminfo",
)
"""Libraries need them, or no mask reaches them: they show a few figures of the whole machine."""


def libc_call(name, *arguments):
    """Call a function of the C library; return 0 or the error's number."""
    libc = ctypes.CDLL(None, use_errno=True)
    return 0 if getattr(libc, name)(*map(ctypes.c_long, arguments)) >= 0 else ctypes.get_errno()


def refused(name, *arguments):
    """Tell whether the filter refuses a call."""
    return libc_call(name, *arguments) in REFUSED


def opened(family, kind, protocol=0):
    """Return what became of a new socket: `open`, or the error's name."""
    try:
        socket.socket(family, kind, protocol).close()
    except OSError as e:
        return errno.errorcode.get(e.errno, str(e.errno))
    return "open"


def answers(sockets):
    """Return those of the sockets (name, family, kind, protocol) that the filter did not refuse."""
    names = {errno.errorcode[number] for number in REFUSED}
    outcomes = {name: opened(*arguments) for name, *arguments in sockets}
    return sorted(f"{name}: {outcome}" for name, outcome in outcomes.items() if outcome not in names)


def listed(allowed, refusals):
    """Return the check's answer: passed if nothing was allowed."""
    return not allowed, f"not refused: {', '.join(allowed)}" if allowed else refusals


def vsock():
    """No socket reaches the hypervisor: no network namespace covers this family."""
    return listed(answers((f"kind {kind}", AF_VSOCK, kind, 0) for kind in KINDS), "AF_VSOCK refused")


def socket_families():
    """Only unix, inet, inet6 and netlink; of inet only TCP and UDP."""
    if not vsock()[0]:
        return False, "not tried: without a filter the kernel would load modules"
    others = [f for f in range(LAST_FAMILY + 1) if f not in FAMILIES]
    sockets = [(f"family {f}/{kind}", f, kind, 0) for f in others for kind in KINDS]
    sockets += [(f"raw {f}", f, socket.SOCK_RAW, 1) for f in (2, 10)]
    sockets += [
        (f"protocol {f}/{protocol}", f, socket.SOCK_STREAM, protocol)
        for f in (2, 10)
        for protocol in (IPPROTO_SCTP, IPPROTO_MPTCP)
    ]
    return listed(answers(sockets), f"{len(others)} families refused; inet opens TCP and UDP only")


def uevents():
    """No events of the kernel and its devices, nor any other netlink protocol than routes."""
    if events := answers([("kernel events", AF_NETLINK, socket.SOCK_RAW, NETLINK_KOBJECT_UEVENT)]):
        return listed(events, "")
    others = [p for p in range(1, LAST_NETLINK + 1) if p != NETLINK_KOBJECT_UEVENT]
    allowed = answers((f"netlink {protocol}", AF_NETLINK, socket.SOCK_RAW, protocol) for protocol in others)
    return listed(allowed, f"kernel events and {len(others)} other netlink protocols refused")


def file_watches():
    """Nothing tells the guest when somebody else opens a file that both see."""
    allowed = [name for name, number in WATCHES.items() if not refused("syscall", number, -1, -1, 0, 0, 0)]
    folder = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    commands = (("F_SETLEASE", F_SETLEASE, F_UNLCK), ("F_NOTIFY", F_NOTIFY, 0), ("F_SETDELEG", F_SETDELEG, 0))
    for name, command, value in commands:
        # the kernel reads 32 bits of a command: a filter that compares 64 would let the second one pass
        if not all(
            refused("syscall", FCNTL, folder, number, value) for number in (command, command | 1 << 32)
        ):
            allowed.append(name)
    os.close(folder)
    return listed(allowed, "inotify, fanotify, leases and directory notifications refused")


def kernel_interfaces():
    """No asynchronous I/O, io_uring, userfaultfd, perf, keys, or other processes' memory."""
    allowed = [name for name, number in CALLS.items() if not refused("syscall", number, -1, 0, 0, 0, 0, 0)]
    return listed(allowed, f"{len(CALLS)} system calls refused")


def other_abis():
    """System calls by the 32-bit and the x32 entries are refused, or end the process."""
    allowed = [name for name, call in (("i386", by_int_80), ("x32", by_x32)) if survives(call)]
    return listed(allowed, "i386 and x32 system calls refused")


def by_int_80():
    """Call getpid by the 32-bit entry."""
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(INT_80)
    return ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()


def by_x32():
    """Call getpid by its x32 number."""
    return ctypes.CDLL(None).syscall(ctypes.c_long(X32 | GETPID))


def survives(call):
    """Tell whether a child process makes the call and gets its own process id."""
    child = os.fork()
    if not child:
        signal.alarm(5)
        os._exit(0 if call() == os.getpid() else 1)
    return os.waitpid(child, 0)[1] == 0


def pseudo_terminals():
    """No pseudo-terminal, of which the machine has a fixed number, and no typing into one."""
    allowed = []
    for path in ("/dev/ptmx", "/dev/pts/ptmx"):
        try:
            os.close(os.open(path, os.O_RDWR | os.O_NOCTTY))
            allowed.append(path)
        except OSError:
            pass
    reader, writer = os.pipe()
    for name, command in (("TIOCSTI", TIOCSTI), ("TIOCLINUX", TIOCLINUX)):
        if not refused("syscall", IOCTL, reader, command, 0):
            allowed.append(name)
    os.close(reader)
    os.close(writer)
    return listed(allowed, "none can be opened")


def holds(path):
    """Tell whether a file or a folder shows anything."""
    try:
        if os.path.isdir(path):
            return bool(os.listdir(path))
        with open(path, "rb") as f:
            return bool(f.read(1))
    except OSError:
        return False


def counters():
    """What shows the activity of the host and of other guests is masked, except where libraries need it."""
    paths = [*COUNTERS, *(path for pattern in PER_DEVICE for path in sorted(glob.glob(pattern)))]
    shown = [path for path in paths if holds(path)]
    remaining = [path for path in REMAINING if holds(path)]
    if shown:
        return False, f"{len(shown)} not masked: {', '.join(shown)}"
    return True, f"{len(paths)} paths masked; still shown: {', '.join([*remaining, 'sysinfo(2)'])}"


isolation.CHECKS = (
    *isolation.CHECKS,
    vsock,
    socket_families,
    uevents,
    file_watches,
    kernel_interfaces,
    other_abis,
    pseudo_terminals,
    counters,
)

if __name__ == "__main__":
    isolation.main()
