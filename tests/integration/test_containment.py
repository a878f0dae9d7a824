"""What no namespace covers is refused to a real guest; the kit's locks are out of its sight."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import SPEEDRUN, left_of, wait_until

from kit.core.facts import facts_root, guest_file
from kit.core.home import default_store
from kit.core.store import Store
from kit.data.synth import ensure_smoke, load_smoke
from kit.image.build import ensure_layout
from kit.image.rootfs import ensure_rootfs

pytestmark = [pytest.mark.container, pytest.mark.network]

FIRST = "import os\nif os.environ['LOCAL_RANK'] != '0': raise SystemExit\n"
ADDED = {
    "vsock", "socket-families", "uevents", "file-watches", "kernel-interfaces", "other-abis",
    "pseudo-terminals", "counters",
}  # fmt: skip

LOCKER = (
    FIRST
    + """
import fcntl, time
places = ["/", "/input", "/input/submission", "/workspace/data/fineweb10B", "/usr", "/usr/bin"]
places += [os.path.join(f, n) for f in places[2:4] for n in os.listdir(f)]
held, busy = [], []
for place in places:
    fd = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held.append(fd)
    except BlockingIOError:
        busy.append(place)
print("locked", len(held), "busy", busy, flush=True)
time.sleep(3600)
"""
)


def test_the_probe_asks_for_all_of_it_and_every_check_passes(evaluate):
    run = evaluate(FIRST)
    isolation = run.predicate["environment"]["isolation"]
    checks = {c["id"]: c for c in isolation["checks"]}
    assert isolation["level"] == "contained"
    assert set(checks) >= ADDED and len(checks) == 20
    assert [c for c in checks.values() if not c["passed"]] == []
    assert "still shown: /proc/meminfo" in checks["counters"]["detail"]


def test_a_guest_that_locks_every_file_it_sees_blocks_no_other_process(arguments, contained, tmp_path):
    submission, runs = tmp_path / "submission", tmp_path / "runs"
    submission.mkdir()
    (submission / "train_gpt2.py").write_text(LOCKER)
    command = [*SPEEDRUN, "eval", "--record", "3", *arguments, "--warmup-deadline", "900"]
    with subprocess.Popen(
        [*command, "--submission", str(submission)], env=contained.env, stderr=subprocess.PIPE
    ) as process:
        try:
            assert wait_until(
                lambda: any(b"locked" in p.read_bytes() for p in runs.glob("r03-*/guest.log")), 300
            )
            (log,) = runs.glob("r03-*/guest.log")
            assert log.read_text().startswith("locked ") and log.read_text().endswith("busy []\n")
            store, root = Store(default_store()), facts_root()
            data = ensure_smoke(load_smoke(root / "records"), store).folder
            # the validation shard that a guest sees is a copy of its own run; the others are the store's
            with pytest.raises(BlockingIOError):  # the guest does hold it
                shard = os.open(min(data.glob("*_train_*.bin")), os.O_RDONLY)
                fcntl.flock(shard, fcntl.LOCK_SH | fcntl.LOCK_NB)
            os.close(shard)
            ensure_rootfs(ensure_layout("cpu", root / "images", store, ()), store)
            store.tidy()
            with store.staging("smoke"), store.lock("containment"):
                pass
        finally:
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130, stderr
    assert left_of(log.parent.name) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a user without rights")
def test_without_the_filter_the_probe_fails(tmp_path):
    done = subprocess.run(
        ["/usr/bin/python3", "-I", str(guest_file("isolation_v2.py")), "0"],
        capture_output=True, text=True, check=True, timeout=300, cwd="/", user=65534, group=65534,
    )  # fmt: skip
    failed = {c["id"] for c in json.loads(done.stdout)["checks"] if not c["passed"]}
    runs_32_bits = Path("/proc/sys/abi/vsyscall32").exists()
    assert failed >= (ADDED if runs_32_bits else ADDED - {"other-abis"})


BYTE_CODE = (
    FIRST
    + """
import json
def fails(what, *args):
    try:
        what(*args)
    except OSError:
        return True
    return False
where = "/input/byte-code/usr/lib/python3.11"
file = os.path.join(where, "json/__init__.cpython-311.pyc")
print("linked", os.path.realpath(json.__cached__) == file)
print("refused", fails(open, file, "r+b"), fails(open, where + "/new.pyc", "wb"), fails(os.unlink, file))
print("refused", fails(os.rename, file, file + "2"), fails(os.chmod, file, 0o666), fails(os.utime, file))
import torch
print("linked", os.path.realpath(torch.__cached__).startswith("/input/byte-code/usr/local/"))
os.unlink(json.__cached__)
print("own", fails(os.lstat, json.__cached__), not fails(os.stat, file))
"""
)


def test_a_guest_uses_the_byte_code_of_the_kit_and_cannot_change_it(evaluate):
    run = evaluate(BYTE_CODE)
    assert (run.folder / "guest.log").read_text().splitlines() == [
        "linked True", "refused True True True", "refused True True True", "linked True", "own True True"
    ]  # fmt: skip
    assert len(run.predicate["environment"]["byte_code"]) == 64
