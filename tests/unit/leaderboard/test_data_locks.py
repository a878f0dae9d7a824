"""A board names the data locks that it accepts, and results with other shards are refused."""

from __future__ import annotations

import json

import pytest

from kit.benchmark.tasks import load_tasks
from kit.cli import run as speedrun
from kit.core.digest import sha256_bytes, sha256_file
from kit.core.errors import IntegrityError, KitError, PrerequisiteError, SchemaError
from kit.core.facts import facts_root
from kit.core.store import Artifact
from kit.data.dataset import ShardDigests, StatedBy, load_dataset
from kit.leaderboard.page.rank import rank
from kit.leaderboard.page.site import render
from kit.leaderboard.submit.check import check
from kit.leaderboard.submit.data_locks import read_board_locks, read_locks
from kit.leaderboard.submit.finding import BoardRule
from kit.result.predicate import Series
from kit.series.record import Arm, SeriesPlan, Slot, StopRule, close, new_series_id, reserved_series
from kit.values.profile import Profile

SHARD = "smoke_val_000000.bin"
"""The shard of every run that the press makes."""


def lock_of(*shards, size=4096):
    """A data lock of shards, given by name and content."""
    dataset = load_dataset(facts_root() / "records")
    files = tuple(Artifact(name, size, sha256_bytes(data)) for name, data in sorted(shards))
    return ShardDigests(dataset.repo, None, StatedBy.FOLDER, dataset.sha256, files).to_json()


GOOD = lock_of((SHARD, b"shard"))
OTHER = lock_of((SHARD, b"another"))


@pytest.fixture
def publish(submit):
    """Write locks and a board.toml that names some of them."""

    def run(*locks, named=None):
        for number, lock in enumerate(locks):
            (submit.root / f"{number}.lock.json").write_bytes(lock)
        names = [sha256_bytes(lock) for lock in locks] if named is None else named
        (submit.root / "board.toml").write_text(f'schema = "board.v1"\ndata_locks = {json.dumps(names)}\n')

    return run


def test_results_of_the_boards_lock_are_accepted(submit, trusted, publish):
    submit(1)
    publish(GOOD)
    checked = check(submit.root, trusted)
    assert checked.findings == () and [lock.sha256 for lock in checked.locks] == [sha256_bytes(GOOD)]


@pytest.mark.parametrize(
    ("lock", "why"),
    [
        (OTHER, f"{SHARD} has sha256 "),
        (lock_of((SHARD, b"shard"), size=8192), f"{SHARD} has sha256 "),
        (lock_of(("fineweb_val_000000.bin", b"shard")), f"{SHARD} is not in it"),
    ],
    ids=["sha256", "size", "name"],
)
def test_results_of_another_lock_are_refused(submit, trusted, publish, lock, why):
    place = submit(1)
    publish(lock)
    checked = check(submit.root, trusted)
    (finding,) = checked.findings
    assert finding.rule is BoardRule.DATA and finding.where == place.relative_to(submit.root).as_posix()
    assert finding.message.startswith(f"data differ from data lock {sha256_bytes(lock)[:12]}: {why}")
    assert checked.exit_code == 1 and checked.accepted == ()
    publish(lock, GOOD)
    assert check(submit.root, trusted).findings == (), "one of two accepted locks is enough"


def test_unpinned_data_are_refused_once_and_smoke_runs_are_not_compared(submit, trusted, publish):
    submit(1, pinned=False)
    submit(2, profile=Profile.SMOKE)
    publish(OTHER)
    rules = {f.rule for f in check(submit.root, trusted).findings}
    assert rules == {BoardRule.UNRANKED}


@pytest.mark.parametrize(
    ("toml", "kind", "message"),
    [
        ("data_locks = []", SchemaError, "board.toml"),
        ('schema = "board.v1"\ndata_locks = []', SchemaError, "data_locks"),
        ('schema = "board.v1"\ndata_locks = ["abc"]', SchemaError, "data_locks"),
        ('schema = "board.v1"\ndata_locks = ["{good}"]\nmore = 1', SchemaError, "more"),
        ('schema = "board.v1"\ndata_locks = ["{none}"]', PrerequisiteError, "no \\*.lock.json in"),
        ("\0", SchemaError, "not valid TOML"),
        ("#" * (17 << 10), IntegrityError, "larger than"),
    ],
)  # fmt: skip
def test_a_wrong_board_file_is_an_error(submit, toml, kind, message):
    (submit.root / "good.lock.json").write_bytes(GOOD)
    text = toml.replace("{good}", sha256_bytes(GOOD)).replace("{none}", "0" * 64)
    (submit.root / "board.toml").write_text(text)
    with pytest.raises(kind, match=message):
        read_board_locks(submit.root)


def test_links_and_locks_that_are_none_are_not_read(submit, tmp_path):
    outside = tmp_path / "outside.json"
    outside.write_bytes(GOOD)
    (submit.root / "linked.lock.json").symlink_to(outside)
    (submit.root / "board.toml").write_text(f'schema = "board.v1"\ndata_locks = ["{sha256_bytes(GOOD)}"]\n')
    with pytest.raises(PrerequisiteError):
        read_board_locks(submit.root)
    (submit.root / "board.toml").unlink()
    (submit.root / "board.toml").symlink_to(outside)
    with pytest.raises(KitError, match="regular file"):
        read_board_locks(submit.root)
    (tmp_path / "bad.lock.json").write_text("{}")
    with pytest.raises(SchemaError):
        read_locks([tmp_path / "bad.lock.json"])
    with pytest.raises(PrerequisiteError):
        read_locks([tmp_path / "none.lock.json"])


@pytest.fixture
def asked(submit, press, tmp_path, capsys):
    """Run a command on the board with the signer's key; return exit code, stdout, stderr."""
    keys = tmp_path / "readers"
    keys.mkdir()
    (keys / "signer.pem").write_bytes(press.MAKE.SIGNER.public.pem)

    def run(*argv):
        code = speedrun([*map(str, argv), "--keys", str(keys)])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def test_a_check_without_a_lock_says_what_it_could_not_compare(submit, asked, publish, tmp_path):
    submit(1)
    code, _, err = asked("submit", "check", submit.root)
    assert code == 0 and "warning: data of 1 result not compared with a data lock" in err
    code, out, _ = asked("submit", "check", submit.root, "--json")
    assert json.loads(out)["data_locks"] == [] and json.loads(out)["data_not_compared"] == 1
    (tmp_path / "own.lock.json").write_bytes(GOOD)
    publish(OTHER)
    code, _, err = asked("submit", "check", submit.root, "--data-lock", tmp_path / "own.lock.json")
    assert code == 0 and f"compared with data lock {sha256_file(tmp_path / 'own.lock.json')[:12]}" in err
    code, out, err = asked("submit", "check", submit.root)
    assert code == 1 and "data lock: data differ from data lock" in out


def test_the_report_uses_the_same_locks_and_says_so(submit, asked, publish, trusted, tmp_path):
    submit(1)
    code, _, err = asked("report", submit.root, "--out", tmp_path / "site")
    page = (tmp_path / "site" / "index.html").read_text()
    assert code == 0 and "not compared with a data lock" in err and "not compared with a data lock" in page
    publish(OTHER)
    code, out, _ = asked("report", submit.root, "--out", tmp_path / "site", "--json")
    assert json.loads(out)["not_accepted"] == 1 and json.loads(out)["data_locks"] == [sha256_bytes(OTHER)]
    publish(GOOD)
    page = render(rank(check(submit.root, trusted), facts_root(), load_tasks(facts_root())), "x", 19)
    assert f"compared with data lock {sha256_bytes(GOOD)[:12]}" in page


def test_a_series_is_compared_with_a_lock(press, asked, tmp_path):
    slots = tuple(
        Slot(f"r03-20260101T000000Z-{n:08x}", f"{n:032x}", Arm.CANDIDATE, press.tree_of(b"x")) for n in (0, 1)
    )
    plan = SeriesPlan(
        new_series_id(3), "2026-01-01T00:00:00.000+00:00", 3, Profile.FULL, StopRule.ALL_RUNS, slots
    )
    with reserved_series(tmp_path / "runs", plan, press.MAKE.SIGNER) as (where, digest):
        for n in (0, 1):
            named = (("series", Series(plan.id, digest)),)
            press.press(tmp_path / "runs", press.Sample(n, script=b"x", extra=named), press.MAKE.SIGNER)
        close(where, plan, press.MAKE.SIGNER, "all runs finished")
    for name, lock in (("good", GOOD), ("other", OTHER)):
        (tmp_path / name).write_bytes(lock)
    assert "data of 2 results not compared with a data lock" in asked("series", where)[2]
    err = asked("series", where, "--data-lock", tmp_path / "good")[2]
    assert "data of 2 results compared with data lock" in err and "FAILED" not in err
    code, _, err = asked("series", where, "--data-lock", tmp_path / "other")
    assert code == 1 and f"FAILED {slots[0].run_id}: data differ from data lock" in err
