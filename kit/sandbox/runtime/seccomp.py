"""The system calls that a guest may not make, as a seccomp section of an OCI config. Knows no engine."""

from __future__ import annotations

from typing import Any

CLONE_NEWUSER = 0x10000000
NAMESPACE_FLAGS = 0x7E020080
"""CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET} and CLONE_NEWTIME."""
EPERM, ENOSYS = 1, 38

DENIED = (
    # namespaces and mounts: the ways to more privilege inside a container
    "unshare", "setns", "mount", "umount", "umount2", "pivot_root", "chroot", "mount_setattr", "move_mount",
    "open_tree", "fsopen", "fsconfig", "fsmount", "fspick", "name_to_handle_at", "open_by_handle_at",
    # large kernel attack surfaces that training never uses
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register",
    "keyctl", "add_key", "request_key", "fanotify_init", "lookup_dcookie", "vmsplice",
    # other processes
    "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "process_madvise", "pidfd_getfd",
    # the machine itself
    "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon",
    "swapoff", "acct", "quotactl", "quotactl_fd", "nfsservctl", "sethostname", "setdomainname", "syslog",
    "iopl", "ioperm", "vhangup", "_sysctl", "sysfs", "uselib", "ustat", "personality", "mknod", "mknodat",
    # clocks: the guest must not set what others read
    "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "stime",
)  # fmt: skip
"""Answered with EPERM."""


def section() -> dict[str, Any]:
    """
    Return the `linux.seccomp` object: allow all but `DENIED`, and refuse new namespaces through clone.

    `clone3` is answered with ENOSYS, because its flags lie in memory that a filter cannot read; libc
    falls back to `clone`, whose flags are checked. See: https://man7.org/linux/man-pages/man2/seccomp.2.html
    """
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [
            {"names": sorted(DENIED), "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM},
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS},
            *(
                {
                    "names": ["clone"],
                    "action": "SCMP_ACT_ERRNO",
                    "errnoRet": EPERM,
                    "args": [{"index": 0, "value": flag, "valueTwo": flag, "op": "SCMP_CMP_MASKED_EQ"}],
                }
                for flag in _single_bits(NAMESPACE_FLAGS)
            ),
        ],
    }


def _single_bits(mask: int) -> list[int]:
    return [1 << n for n in range(mask.bit_length()) if mask >> n & 1]
