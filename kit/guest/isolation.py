"""
What a guest could do, looked at from the inside: prints one JSON object and changes nothing.

Runs in its own start, before the submission's, under the same limits. Standard library only.
Its one argument is how many GPUs the guest was given.
A check passes when the way out is shut. Kernel knobs are asked about with access(2), never written.
"""

import ctypes
import errno
import json
import os
import socket
import sys

SECRETS = ("/etc/shadow", "/root/.ssh", "/root/.config", "/home", "/run/secrets")
SOCKETS = (
    "/run/docker.sock",
    "/var/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/var/run/crio/crio.sock",
)
KNOBS = (
    "/proc/sysrq-trigger",
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/vm/drop_caches",
    "/sys/kernel/uevent_helper",
)
DEVICES = {
    "console",
    "core",
    "fd",
    "full",
    "mqueue",
    "null",
    "ptmx",
    "pts",
    "random",
    "shm",
    "stderr",
    "stdin",
    "stdout",
    "tty",
    "urandom",
    "zero",
}
GPU_CONTROL = {"nvidia-modeset", "nvidia-uvm", "nvidia-uvm-tools", "nvidiactl"}
CLONE_NEWUSER = 0x10000000


def status(name):
    """Return one field of /proc/self/status."""
    with open("/proc/self/status") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith(name + ":")), "")


def uid():
    """Neither root nor the kit's user; in a user namespace, root of nothing."""
    with open("/proc/self/uid_map") as f:
        outside = f.read().split()
    mapped = outside[:2] != ["0", "0"]
    me = os.getuid()
    seen_outside = outside[1] if mapped else me
    return me != 0 or mapped, f"uid {me} ({seen_outside} outside), groups {os.getgroups()}"


def capabilities():
    """No capability in any set."""
    sets = {name: status(name) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    held = ", ".join(f"{name} {value}" for name, value in sorted(sets.items()))
    return all(int(value, 16) == 0 for value in sets.values()), held


def no_new_privileges():
    """A setuid program gives nothing."""
    return status("NoNewPrivs") == "1", "NoNewPrivs " + status("NoNewPrivs")


def seccomp():
    """A filter is on, and new user namespaces are refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    refused = libc.unshare(CLONE_NEWUSER) == -1 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS)
    return status("Seccomp") == "2" and refused, "Seccomp {}, unshare(CLONE_NEWUSER) {}".format(
        status("Seccomp"),
        "refused" if refused else "ALLOWED",
    )


def root_read_only():
    """The root file system takes no file."""
    flags = os.statvfs("/").f_flag
    writable = [d for d in ("/", "/etc", "/usr", "/usr/bin") if os.path.isdir(d) and os.access(d, os.W_OK)]
    return bool(
        flags & os.ST_RDONLY
    ) and not writable, "read-only" if not writable else f"writable: {writable}"


def inputs_read_only():
    """The submission and the data are mounted read-only."""
    found = []
    with open("/proc/self/mountinfo") as f:
        for line in f:
            fields = line.split()
            if fields[4].startswith(("/input/", "/workspace/")):
                found.append((fields[4], "ro" in fields[5].split(",")))
    return bool(found) and all(ro for _, ro in found), ", ".join(
        "{} {}".format(p, "ro" if r else "RW") for p, r in found
    )


def network():
    """Loopback alone, and no route."""
    with open("/proc/net/dev") as f:
        names = [line.split(":")[0].strip() for line in f if ":" in line]
    with open("/proc/net/route") as f:
        routes = len(f.readlines()) - 1
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
            s.settimeout(2)
            s.connect(("192.0.2.1", 9))  # a documentation address: never anybody's
        reached = "REACHED"
    except OSError as e:
        reached = errno.errorcode.get(e.errno, "timeout")
    shut = names in (["lo"], []) and routes <= 0 and reached == "ENETUNREACH"
    return shut, f"interfaces {names}, {max(routes, 0)} routes, 192.0.2.1: {reached}"


def engine_sockets():
    """No engine's socket is in sight."""
    seen = [p for p in SOCKETS if os.path.exists(p)]
    return not seen, "none" if not seen else f"seen: {seen}"


def secrets():
    """No password hash, key or home of the machine can be read."""
    seen = [p for p in SECRETS if os.access(p, os.R_OK) and (os.path.isfile(p) or os.listdir(p))]
    return not seen, "none" if not seen else f"readable: {seen}"


def kernel_knobs():
    """No kernel setting can be written."""
    seen = [p for p in KNOBS if os.access(p, os.W_OK)]
    return not seen, f"none writable of {len(KNOBS)}" if not seen else f"writable: {seen}"


def other_processes():
    """Nothing but this process and its shell is in sight."""
    others = [
        int(n) for n in os.listdir("/proc") if n.isdigit() and int(n) not in (1, os.getpid(), os.getppid())
    ]
    return not others, "none" if not others else f"{len(others)} others"


def devices():
    """Only harmless devices, and as many GPUs as were given."""
    given = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    names = set(os.listdir("/dev"))
    gpus = {n for n in names if n.startswith("nvidia") and n[len("nvidia") :].isdigit()}
    odd = sorted(names - DEVICES - gpus - (GPU_CONTROL if given else set()))
    seen = f"the usual ones and {len(gpus)} GPUs of {given}"
    return not odd and len(gpus) == given, seen if not odd else f"{seen}, also {odd}"


CHECKS = (
    uid,
    capabilities,
    no_new_privileges,
    seccomp,
    root_read_only,
    inputs_read_only,
    network,
    engine_sockets,
    secrets,
    kernel_knobs,
    other_processes,
    devices,
)


def main():
    """Run every check; a check that breaks has not passed."""
    found = []
    for check in CHECKS:
        try:
            passed, detail = check()
        except Exception as e:  # any surprise is a failed check, told to the host
            passed, detail = False, f"{type(e).__name__}: {e}"
        found.append({"id": check.__name__.replace("_", "-"), "passed": bool(passed), "detail": detail[:300]})
    json.dump({"python": sys.version.split()[0], "checks": found}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
