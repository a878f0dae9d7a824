"""
The bytes of records/, images/, hints/ and kit/guest/ stay as they were released.

Their digests stand in signed bundles, in capsules and in image digests: a changed byte makes old results
refer to something that no longer exists. New files may be added, and then listed too; a listed file may not
change. The list is checked by hand with `sha256sum --check tests/assets/frozen.sha256`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
LIST = REPOSITORY / "tests" / "assets" / "frozen.sha256"


def test_no_listed_file_has_changed():
    listed = dict(reversed(line.split("  ", 1)) for line in LIST.read_text().splitlines())
    now = {
        name: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
        for name, path in ((name, REPOSITORY / name) for name in listed)
    }
    assert now == listed


def test_the_list_covers_every_folder_whose_bytes_are_hashed():
    names = [line.split("  ", 1)[1] for line in LIST.read_text().splitlines()]
    assert names == sorted(names) and len(names) == len(set(names))
    for pattern in ("records/*.toml", "images/*/image.toml", "images/*/lock.json", "images/*/digest"):
        there = {p.relative_to(REPOSITORY).as_posix() for p in REPOSITORY.glob(pattern)}
        assert there and there <= set(names), pattern
    assert any(n.startswith("hints/") for n in names) and any(n.startswith("kit/guest/") for n in names)
