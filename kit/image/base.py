"""Files that the kit adds to an image in place of the packages' install scripts, which never run."""

from __future__ import annotations

from kit.core.errors import IntegrityError
from kit.core.facts import guest_file
from kit.image.entry import MERGED, ArchiveEntry, folder, link, literal

GUEST_UID = 65532
"""The user `guest` of every image."""

ORIGIN = "speedrun-kit"
REINSTALL = "correct modules in image.toml, or reinstall speedrun-kit"

_PASSWD = f"""\
root:x:0:0:root:/root:/bin/sh
guest:x:{GUEST_UID}:{GUEST_UID}:guest:/workspace:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
"""

_GROUP = f"""\
root:x:0:
guest:x:{GUEST_UID}:
nogroup:x:65534:
"""

_HOSTS = """\
127.0.0.1 localhost
::1 localhost
::ffff:127.0.0.1 localhost
"""

_NSSWITCH = """\
passwd: files
group: files
shadow: files
hosts: files
"""

_SITECUSTOMIZE = guest_file("site/sitecustomize.py")
"""Python runs it at its start. Its bytes are part of every image."""


def base_entries(python: str) -> list[ArchiveEntry]:
    """Return the files and links that the kit adds; each replaces a package's entry at the same path."""
    plain = ("data", "dev", "etc", "input", "proc", "root", "run", "sys")
    entries = [folder(path, ORIGIN) for path in plain]
    # Runtimes give a tmpfs the mode of the directory that it covers.
    entries += [folder(path, ORIGIN, 0o1777) for path in ("tmp", "var/tmp", "workspace")]
    entries += [
        link(name, f"usr/{name}", ORIGIN) for name in sorted(MERGED & {"bin", "sbin", "lib", "lib64"})
    ]
    entries += [
        literal("etc/passwd", _PASSWD.encode(), ORIGIN),
        literal("etc/group", _GROUP.encode(), ORIGIN),
        literal("etc/hosts", _HOSTS.encode(), ORIGIN),
        literal("etc/hostname", b"localhost\n", ORIGIN),
        literal("etc/nsswitch.conf", _NSSWITCH.encode(), ORIGIN),
        literal("etc/resolv.conf", b"", ORIGIN),
        literal(f"usr/lib/python{python}/sitecustomize.py", _SITECUSTOMIZE.read_bytes(), ORIGIN),
    ]
    links = {
        "usr/bin/awk": "mawk",
        "usr/bin/c++": "g++",
        "usr/bin/cc": "gcc",
        "usr/bin/python": "python3",
        "usr/bin/python3-config": f"x86_64-linux-gnu-python{python}-config",
        "usr/bin/sh": "dash",
        "usr/bin/which": "which.debianutils",
    }
    return entries + [link(path, target, ORIGIN) for path, target in links.items()]


def module_entries(names: tuple[str, ...], python: str) -> list[ArchiveEntry]:
    """
    Return the kit's own modules as entries, where the wheels are. Their bytes are part of the image.

    Raises `IntegrityError` for a name that is not in kit/guest/modules.
    """
    entries = []
    for name in names:
        path = guest_file(f"modules/{name}")
        if not path.is_file():
            raise IntegrityError(f"image.toml lists the module {name}, but {path} does not exist", REINSTALL)
        to = f"usr/local/lib/python{python}/dist-packages/{name}"
        entries.append(literal(to, path.read_bytes(), ORIGIN))
    return entries


def package_list(controls: list[str]) -> ArchiveEntry:
    """Return dpkg's status file for packages that were unpacked without running their scripts."""
    stanzas = []
    for control in sorted(controls):
        head, _, rest = control.partition("\n")
        stanzas.append(f"{head}\nStatus: install ok installed\n{rest}")
    return literal("var/lib/dpkg/status", "\n".join(stanzas).encode(), ORIGIN)
