"""What the profile answers to a system call, worked out as the kernel would; and where it comes from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.sandbox.runtime import seccomp

ALLOW, EPERM, ENOSYS = "allow", 1, 38
DEFAULT = Path("/usr/share/containers/seccomp.json")
"""Podman's default profile, which is Docker's with a few more calls."""
NUMBERS = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
UPPER = 1 << 32

NEVER = (
    "unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "mount_setattr", "move_mount",
    "open_tree", "fsopen", "fsconfig", "fsmount", "fspick", "name_to_handle_at", "open_by_handle_at", "bpf",
    "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl",
    "add_key", "request_key", "fanotify_init", "fanotify_mark", "lookup_dcookie", "vmsplice", "ptrace",
    "process_vm_readv", "process_vm_writev", "kcmp", "process_madvise", "pidfd_getfd", "init_module",
    "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff", "acct",
    "quotactl", "quotactl_fd", "nfsservctl", "sethostname", "setdomainname", "syslog", "iopl", "ioperm",
    "vhangup", "_sysctl", "sysfs", "uselib", "ustat", "personality", "mknod", "mknodat", "settimeofday",
    "clock_settime", "clock_adjtime", "adjtimex", "io_setup", "io_submit", "io_getevents", "io_pgetevents",
    "io_destroy", "io_cancel", "inotify_init", "inotify_init1", "inotify_add_watch", "inotify_rm_watch",
    "memfd_secret", "modify_ldt", "landlock_create_ruleset", "sync", "syncfs", "mbind", "set_mempolicy",
    "socketcall", "ipc", "stime", "umount",
)  # fmt: skip


def holds(condition: dict[str, Any], arguments: tuple[int, ...]) -> bool:
    assert condition["op"] == "SCMP_CMP_MASKED_EQ"
    return arguments[condition["index"]] & condition["value"] == condition["valueTwo"]


def answer(name: str, *arguments: int) -> str | int:
    """Return what a call is answered with; rules that contradict each other are an error."""
    arguments += (0,) * (6 - len(arguments))
    answers = {
        ALLOW if rule["action"] == "SCMP_ACT_ALLOW" else rule.get("errnoRet", EPERM)
        for rule in seccomp.profile()["syscalls"]
        if name in rule["names"] and all(holds(c, arguments) for c in rule.get("args", ()))
    }
    assert len(answers) <= 1, (name, answers)
    return answers.pop() if answers else EPERM


@pytest.mark.parametrize("name", NEVER)
def test_a_call_that_training_does_not_need_is_refused_whatever_its_arguments(name):
    assert all(answer(name, *arguments) == EPERM for arguments in ((), (1, 1, 1), (2**64 - 1,) * 6))


@pytest.mark.parametrize(
    "name", ["execve", "fork", "futex", "mmap", "openat", "shmget", "memfd_create", "flock"]
)
def test_what_training_needs_is_allowed(name):
    assert answer(name) == ALLOW


def test_everything_else_is_refused_and_other_abis_end_the_guest():
    profile = seccomp.profile()
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert profile["architectures"] == ["SCMP_ARCH_X86_64"]
    assert answer("a call of tomorrow") == EPERM


def test_threads_are_made_and_namespaces_are_not():
    assert answer("clone3") == ENOSYS  # libc then calls clone, whose flags can be seen
    assert answer("clone", 0x3D0F00) == ALLOW  # glibc's pthread_create
    assert answer("clone", 0x1200011) == ALLOW  # glibc's fork
    bits = [1 << n for n in range(32) if seccomp.NAMESPACE_FLAGS >> n & 1]
    assert len(bits) == 7 and 0x10000000 in bits
    for bit in bits:
        assert answer("clone", 0x3D0F00 | bit) == EPERM


STREAM, DGRAM, RAW, SEQPACKET, FLAGS = 1, 2, 3, 5, 0x80800


@pytest.mark.parametrize(
    "arguments",
    [
        *((1, kind | FLAGS, 0) for kind in (STREAM, DGRAM, SEQPACKET)),
        *((family, STREAM | FLAGS, protocol) for family in (2, 10) for protocol in (0, 6)),
        *((family, DGRAM | FLAGS, protocol) for family in (2, 10) for protocol in (0, 17)),
        *((16, kind | FLAGS, 0) for kind in (DGRAM, RAW)),
    ],
)
def test_sockets_that_a_network_namespace_covers_are_allowed(arguments):
    assert answer("socket", *arguments) == ALLOW


@pytest.mark.parametrize("upper", [0, UPPER, 0x7FFFFFFF << 32])
def test_no_other_family_protocol_or_kind_is_allowed(upper):
    for family in set(range(64)) - {1, 2, 10, 16}:
        for kind in range(16):
            assert answer("socket", family | upper, kind, 0) == EPERM
    for protocol in range(1, 64):
        assert answer("socket", 16, RAW, protocol | upper) == EPERM
    for family in (2, 10):
        for kind, protocol in ((RAW, 1), (RAW, 255), (STREAM, 132), (STREAM, 262), (SEQPACKET, 132), (6, 33)):
            assert answer("socket", family, kind | upper, protocol | upper) == EPERM
    for family in set(range(64)) - {1}:
        assert answer("socketpair", family | upper, STREAM, 0) == EPERM
    assert answer("socketpair", 1, STREAM, 0) == ALLOW


@pytest.mark.parametrize("upper", [0, UPPER])
def test_leases_watches_and_delegations_are_refused_and_other_commands_are_not(upper):
    allowed = {n for n in range(2048) if answer("fcntl", 3, n | upper) == ALLOW}
    assert allowed == {*range(18), 36, 37, 38, *range(1030, 1039)}


@pytest.mark.parametrize("upper", [0, UPPER])
def test_only_typing_into_terminals_and_line_disciplines_are_refused_of_ioctl(upper):
    refused = {n for n in range(0x10000) if answer_fast("ioctl", 1, n | upper) != ALLOW}
    assert refused == {0x5412, 0x541C, 0x5423}


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_an_ioctl_of_a_driver_is_allowed(command, upper):
    expected = command not in (0x5412, 0x541C, 0x5423)
    assert answer_fast("ioctl", 1, command | upper << 32) is (ALLOW if expected else None)


RULES = {
    name: [
        rule["args"] for rule in seccomp.profile()["syscalls"] if rule["names"] == [name] and "args" in rule
    ]
    for name in ("ioctl",)
}


def answer_fast(name: str, index: int, value: int) -> str | None:
    hits = [args for args in RULES[name] if value & args[0]["value"] == args[0]["valueTwo"]]
    assert len(hits) <= 1 and all(args[0]["index"] == index for args in RULES[name])
    return ALLOW if hits else None


def test_the_hosts_page_cache_is_not_emptied():
    assert [answer("fadvise64", 3, 0, 0, n) for n in range(7)] == [ALLOW] * 4 + [EPERM, ALLOW, EPERM]


def test_no_rule_names_an_argument_twice_which_libseccomp_refuses():
    for rule in seccomp.profile()["syscalls"]:
        indices = [c["index"] for c in rule.get("args", ())]
        assert len(indices) == len(set(indices))


def test_no_name_comes_twice_and_none_is_allowed_with_and_without_conditions():
    assert len(seccomp.ALLOWED) == len(set(seccomp.ALLOWED))
    conditional = {n for rule in seccomp.profile()["syscalls"] if "args" in rule for n in rule["names"]}
    assert not conditional & set(seccomp.ALLOWED)


@pytest.mark.skipif(not NUMBERS.exists(), reason="needs the kernel's headers")
def test_every_name_is_a_system_call_of_x86_64():
    numbers = set(re.findall(r"#define __NR_(\w+)", NUMBERS.read_text()))
    assert {name for rule in seccomp.profile()["syscalls"] for name in rule["names"]} <= numbers


@pytest.mark.skipif(not DEFAULT.exists(), reason="needs Podman's default profile")
def test_nothing_is_allowed_that_an_engines_default_refuses():
    default = json.loads(DEFAULT.read_text())
    allowed = {
        name
        for rule in default["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW" and not (rule.get("includes") or {}).get("caps")
        for name in rule["names"]
    }
    rules = [rule for rule in seccomp.profile()["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW"]
    assert {name for rule in rules for name in rule["names"]} <= allowed
