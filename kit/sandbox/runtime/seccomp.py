"""
The system calls that a guest may make, as a seccomp profile for runc, Docker and Podman.

It is an allow-list. It contains no call that the default profile of Docker or Podman denies to a container
without capabilities. See: https://man7.org/linux/man-pages/man2/seccomp.2.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

NAMESPACE_FLAGS = 0x7E020000
"""CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}; clone(2) does not accept CLONE_NEWTIME."""
EPERM, ENOSYS = 1, 38
WORD = 0xFFFFFFFF
"""The kernel reads an `int` argument as 32 bits, so the rules ignore the upper half of the register."""

ALLOWED = (
    # files and directories
    "access", "chdir", "chmod", "chown", "close", "close_range", "copy_file_range", "creat", "dup", "dup2",
    "dup3", "faccessat", "faccessat2", "fallocate", "fchdir", "fchmod", "fchmodat", "fchown", "fchownat",
    "fdatasync", "fgetxattr", "flistxattr", "flock", "fremovexattr", "fsetxattr", "fstat", "fstatfs", "fsync",
    "ftruncate", "futimesat", "getcwd", "getdents", "getdents64", "getxattr", "lchown", "lgetxattr", "link",
    "linkat", "listxattr", "llistxattr", "lremovexattr", "lseek", "lsetxattr", "lstat", "mkdir", "mkdirat",
    "newfstatat", "open", "openat", "openat2", "pread64", "preadv", "preadv2", "pwrite64", "pwritev",
    "pwritev2", "read", "readahead", "readlink", "readlinkat", "readv", "removexattr", "rename", "renameat",
    "renameat2", "rmdir", "sendfile", "setxattr", "splice", "stat", "statfs", "statx", "symlink", "symlinkat",
    "sync_file_range", "tee", "truncate", "umask", "unlink", "unlinkat", "utime", "utimensat", "utimes",
    "write", "writev",
    # memory
    "brk", "madvise", "membarrier", "memfd_create", "mincore", "mlock", "mlock2", "mlockall", "mmap",
    "mprotect", "mremap", "msync", "munlock", "munlockall", "munmap", "pkey_alloc", "pkey_free",
    "pkey_mprotect",
    # waiting
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd",
    "eventfd2", "pause", "pipe", "pipe2", "poll", "ppoll", "pselect6", "select", "signalfd", "signalfd4",
    # operations on existing sockets
    "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "recvfrom",
    "recvmmsg", "recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown",
    # System V and POSIX objects of the guest's own IPC namespace
    "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend", "mq_unlink", "msgctl",
    "msgget", "msgrcv", "msgsnd", "semctl", "semget", "semop", "semtimedop", "shmat", "shmctl", "shmdt",
    "shmget",
    # processes and threads
    "arch_prctl", "execve", "execveat", "exit", "exit_group", "fork", "futex", "get_robust_list", "getcpu",
    "getpgid", "getpgrp", "getpid", "getppid", "getpriority", "getrlimit", "getrusage", "getsid", "gettid",
    "ioprio_get", "ioprio_set", "kill", "pidfd_open", "pidfd_send_signal", "prctl", "prlimit64",
    "restart_syscall", "rseq", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo",
    "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "rt_tgsigqueueinfo", "sched_get_priority_max",
    "sched_get_priority_min", "sched_getaffinity", "sched_getattr", "sched_getparam", "sched_getscheduler",
    "sched_rr_get_interval", "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler",
    "sched_yield", "seccomp", "set_robust_list", "set_tid_address", "setpgid", "setpriority", "setrlimit",
    "setsid", "sigaltstack", "tgkill", "tkill", "vfork", "wait4", "waitid",
    # users and capabilities; the guest has none to grant
    "capget", "capset", "getegid", "geteuid", "getgid", "getgroups", "getresgid", "getresuid", "getuid",
    "setfsgid", "setfsuid", "setgid", "setgroups", "setregid", "setresgid", "setresuid", "setreuid", "setuid",
    # clocks and timers, read-only
    "alarm", "clock_getres", "clock_gettime", "clock_nanosleep", "getitimer", "gettimeofday", "nanosleep",
    "setitimer", "time", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime",
    "timer_settime", "timerfd_create", "timerfd_gettime", "timerfd_settime", "times",
    # the machine, read-only
    "getrandom", "sysinfo", "uname",
)  # fmt: skip
"""Allowed with any arguments."""

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
NETLINK_ROUTE = 0
SOCK_STREAM, SOCK_DGRAM = 1, 2
SOCK_TYPE = 0xF
"""The other bits of a socket's type are flags."""
IPPROTO_TCP, IPPROTO_UDP = 6, 17

FCNTL_COMMANDS = ((0, 17), (36, 38), (1030, 1038))
"""All except leases (1024, 1025), F_NOTIFY (1026), delegations (1039, 1040): they reveal other processes."""
TIOCSTI, TIOCLINUX, TIOCSETD = 0x5412, 0x541C, 0x5423
IOCTL_COMMANDS = (
    (0, TIOCSTI - 1), (TIOCSTI + 1, TIOCLINUX - 1), (TIOCLINUX + 1, TIOCSETD - 1), (TIOCSETD + 1, WORD),
)  # fmt: skip
"""All except injecting terminal input and loading a line discipline."""
FADVISE_ADVICE = ((0, 3), (5, 5))
"""All except POSIX_FADV_DONTNEED, which evicts the host's data from the page cache."""


def profile() -> dict[str, Any]:
    """
    Return the profile. Other calls fail with EPERM; a 32-bit or x32 call kills the guest.

    `clone3` fails with ENOSYS: a filter cannot read its flags from memory, and libc falls back to `clone`.
    runc itself returns ENOSYS for calls that are newer than all listed here.
    """
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            {"names": sorted(ALLOWED), "action": "SCMP_ACT_ALLOW"},
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS},
            _allow("clone", (0, NAMESPACE_FLAGS, 0)),
            *_sockets(),
            *_ranges("fcntl", 1, FCNTL_COMMANDS),
            *_ranges("ioctl", 1, IOCTL_COMMANDS),
            *_ranges("fadvise64", 3, FADVISE_ADVICE),
        ],
    }


def _sockets() -> Iterator[dict[str, Any]]:
    """Yield rules for the kinds of sockets that training uses and a network namespace isolates."""
    yield _allow("socketpair", (0, WORD, AF_UNIX))
    yield _allow("socket", (0, WORD, AF_UNIX))
    yield _allow("socket", (0, WORD, AF_NETLINK), (2, WORD, NETLINK_ROUTE))
    for family in (AF_INET, AF_INET6):
        for kind, protocol in ((SOCK_STREAM, IPPROTO_TCP), (SOCK_DGRAM, IPPROTO_UDP)):
            for number in (0, protocol):
                yield _allow("socket", (0, WORD, family), (1, SOCK_TYPE, kind), (2, WORD, number))


def _ranges(name: str, index: int, ranges: Iterable[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """Yield rules that allow a call if one `int` argument is in one of the inclusive ranges."""
    for first, last in ranges:
        for mask, value in _blocks(first, last):
            yield _allow(name, (index, mask, value))


def _blocks(first: int, last: int) -> Iterator[tuple[int, int]]:
    """
    Split a range of 32-bit numbers into blocks (mask, value), like CIDR blocks of a range of addresses.

    Other comparisons do not work: they compare 64 bits, and a rule can name an argument only once.
    """
    while first <= last:
        size = first & -first or WORD + 1
        while first + size - 1 > last:
            size >>= 1
        yield WORD & ~(size - 1), first
        first += size


def _allow(name: str, *arguments: tuple[int, int, int]) -> dict[str, Any]:
    """Return a rule that allows a call if, for each (index, mask, value), argument & mask == value."""
    return {
        "names": [name],
        "action": "SCMP_ACT_ALLOW",
        "args": [
            {"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}
            for index, mask, value in arguments
        ],
    }
