"""Guests that attack the machine or the clock: each ends in a record, and nothing of it is left."""

from __future__ import annotations

import pytest
from conftest import left_of, verify

from kit.sandbox.stamp import MOST_PIECES

pytestmark = [pytest.mark.container, pytest.mark.network]

FIRST_RANK = "import os, sys, time\nif os.environ['LOCAL_RANK'] != '0': time.sleep(600)\n"

SEEKER = (
    "import os\nif os.environ['LOCAL_RANK'] != '0': raise SystemExit\n"
    + """
import socket
found = []
for path in ("/etc/shadow", "/run/docker.sock", "/root/.config", "/home"):
    if os.access(path, os.R_OK) and (os.path.isfile(path) or os.listdir(path)):
        found.append(path)
KNOBS = ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger")
for path in (*KNOBS, "/", "/usr", "/etc", "/input/submission", "/workspace/data/fineweb10B"):
    if os.access(path, os.W_OK):
        found.append("W:" + path)
for root, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if os.path.join(root, f) not in ("/proc", "/sys", "/usr")]
    found += [os.path.join(root, f) for f in files if f in ("own.key", "result.json", "intent.json")]
strangers = []
for name in os.listdir("/proc"):
    if name.isdigit():
        try:
            with open(f"/proc/{name}/cmdline") as f:
                line = f.read()
        except (FileNotFoundError, ProcessLookupError):  # it ended after it was listed
            continue
        if line and "torchrun" not in line and "train_gpt2" not in line:
            strangers.append(line)
found += strangers
for address in (("127.0.0.1", 22), ("192.0.2.1", 80), ("198.51.100.1", 443)):
    try:
        socket.create_connection(address, timeout=2)
        found.append(address)
    except OSError:
        pass
try:
    socket.getaddrinfo("example.org", 80)
    found.append("dns")
except OSError:
    pass
print("FOUND", found, flush=True)
os._exit(0 if not found else 9)
"""
)

DAEMON = (
    FIRST_RANK
    + """
import signal, socket
signal.signal(signal.SIGTERM, signal.SIG_IGN)
s = socket.socket()
s.bind(("127.0.0.1", 31337))
s.listen()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        time.sleep(600)
    os._exit(0)
print("holding", flush=True)
time.sleep(600)
"""
)


def test_a_guest_that_searches_the_host_finds_nothing(cpu_image, evaluate):
    run = evaluate(SEEKER)
    log = (run.folder / "guest.log").read_text()
    assert "FOUND []" in log, log[-2000:]
    assert run.report["verdict"] == "refused" and run.code == 1
    assert run.report["audit"]["source.network"]["outcome"] == "failed"


def test_a_deadline_ends_a_daemon_that_ignores_sigterm_and_holds_a_port(cpu_image, evaluate, tmp_path):
    run = evaluate(DAEMON, "--warmup-deadline", "2")
    assert run.report["status"] == "timed_out"
    teardown = run.predicate["observations"]["teardown"]
    assert teardown["remains"] == [] and teardown["kill_s"] < 120
    assert left_of(run.report["run_id"]) == []
    assert run.predicate["run"]["clock"] == "warmup"
    assert verify(run.folder, tmp_path / "keys").returncode == 0


def test_a_guest_that_eats_memory_is_out_of_memory(cpu_image, evaluate):
    run = evaluate(FIRST_RANK + "held = []\nwhile True: held.append(b'x' * (64 << 20))\n")
    assert run.report["status"] == "out_of_memory", run.report
    assert run.predicate["observations"]["usage"]["oom_kills"] >= 1
    assert left_of(run.report["run_id"]) == []


def test_a_guest_that_fills_its_disk_hurts_only_itself(cpu_image, evaluate):
    filler = "open('/tmp/x', 'wb').write(b'x' * (1 << 20)) and None\nf = open('/tmp/y', 'wb')\n"
    run = evaluate(FIRST_RANK + filler + "while True: f.write(b'x' * (1 << 20))\n")
    assert run.report["status"] in ("crashed", "out_of_memory")
    assert (
        "No space left" in (run.folder / "guest.log").read_text() or run.report["status"] == "out_of_memory"
    )


def test_a_fork_loop_meets_its_limit_and_its_deadline(cpu_image, evaluate):
    bomb = "print('x', flush=True)\nwhile True:\n  try: os.fork()\n  except OSError: time.sleep(0.01)\n"
    run = evaluate(FIRST_RANK + bomb, "--warmup-deadline", "2")
    assert run.report["status"] == "timed_out"
    assert run.predicate["observations"]["teardown"]["kill_s"] < 120
    assert left_of(run.report["run_id"]) == []


@pytest.mark.parametrize(
    ("line", "most"),
    [("b'x' * 99 + b'\\n'", 100 * MOST_PIECES), ("b'x' * 65536", 1 << 62)],
    ids=["many-lines", "one-endless-line"],
)
def test_a_log_flood_is_cut_at_the_output_limit(cpu_image, evaluate, line, most):
    run = evaluate(FIRST_RANK + f"data = {line}\nwhile True: os.write(1, data)\n")
    assert run.report["status"] == "output_limit"
    limit = run.predicate["run"]["limits"]["output"]
    assert (run.folder / "guest.log").stat().st_size == min(limit, most)
    assert left_of(run.report["run_id"]) == []


def test_a_printed_loss_below_the_floor_is_refused(cpu_image, evaluate):
    claim = "step:{s}/100 val_loss:1.0000 train_time:{s}ms step_avg:1.00ms"
    liar = f"for s in (0, 100): print(f'{claim}', flush=True)\n"
    run = evaluate("import os\nif os.environ['LOCAL_RANK'] == '0':\n    " + liar)
    assert run.report["status"] == "completed"
    assert run.report["verdict"] == "refused" and run.code == 1
    assert run.report["audit"]["floor"]["outcome"] == "failed"


def test_exit_0_with_nothing_done_is_a_failed_run(cpu_image, evaluate):
    run = evaluate("")
    assert (run.report["status"], run.report["verdict"], run.code) == ("completed", "failed", 1)


def test_what_a_guest_prints_does_not_steer_the_terminal(cpu_image, evaluate):
    run = evaluate("print('\\x1b[2J\\x1b]0;owned\\x07', flush=True)\nraise SystemExit('\\x1b[31mred')\n")
    assert "\x1b" not in run.stderr
    assert b"\x1b[2J" in (run.folder / "guest.log").read_bytes()
