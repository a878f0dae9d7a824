"""Of two entries of one run, the copy is refused by what its maker cannot choose; else both are."""

import json
import shutil
from dataclasses import replace

import pytest

from kit.cli import run as speedrun
from kit.core.errors import PrerequisiteError, UsageError
from kit.leaderboard.submit.check import BoardRule, check
from kit.leaderboard.submit.entry import BoardEntry
from kit.result.verify import open_bundle

EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.25+00:00"
"""Compared as texts, they are in the wrong order."""


def copied(place, agent="a-copier"):
    """Copy an entry to an agent's name that sorts before its own."""
    to = place.parents[1] / agent / place.name
    shutil.copytree(place, to)
    document = json.loads((to / "entry.json").read_bytes())
    (to / "entry.json").write_text(json.dumps(document | {"agent": agent}))
    return to


@pytest.fixture
def base(submit, tmp_path):
    """Return a function that copies the repository as it is now."""
    return lambda: shutil.copytree(submit.root, tmp_path / "base")


@pytest.fixture
def dated(submit, press, trusted, tmp_path):
    """Submit a run with a date."""

    def run(number, began, agent, **fields):
        plain = open_bundle(press.press(tmp_path / f"plain-{agent}", press.Sample(number)), trusted).predicate
        extra = (("run", replace(plain.run, started_at=began)),)
        return submit(number, agent, extra=extra, **fields)

    return run


def found(checked):
    return {(f.rule, f.where.split("/")[2]): f.message for f in checked.findings}


def test_without_a_base_a_copy_and_its_original_are_both_refused_and_told_so(submit, trusted):
    copied(submit(1, "original"))
    said = found(check(submit.root, trusted))
    assert set(said) == {(BoardRule.DUPLICATE, "a-copier"), (BoardRule.DUPLICATE, "original")}
    assert "is also in submissions/03/original/" in said[BoardRule.DUPLICATE, "a-copier"]
    assert "is also in submissions/03/a-copier/" in said[BoardRule.DUPLICATE, "original"]
    assert all("nothing shows which one is the copy" in why and "--base" in why for why in said.values())


def test_of_many_copies_each_is_named_once(submit, trusted):
    place = submit(1, "original")
    for agent in ("a", "b", "z"):
        copied(place, agent)
    checked = check(submit.root, trusted)
    assert sorted(f.where.split("/")[2] for f in checked.findings) == ["a", "b", "original", "z"]


def test_what_the_base_has_is_the_original(submit, trusted, base):
    place = submit(1, "original")
    before = base()
    copy = copied(place)
    checked = check(submit.root, trusted, base=before)
    (finding,) = checked.findings
    assert finding.where == copy.relative_to(submit.root).as_posix()
    assert finding.message.endswith("which was there before")
    assert [s.where for s in checked.accepted] == [place] and checked.before == 1


@pytest.mark.parametrize(
    "harm",
    [
        shutil.rmtree,
        lambda place: (place / "stamps.gz").write_bytes(b"x"),
        lambda place: (place / "result.json").write_bytes(b"{}"),
        lambda place: (place / "signer.pem").unlink(),
    ],
)
def test_an_original_that_is_removed_or_harmed_still_counts(submit, trusted, base, harm):
    place = submit(1, "original")
    before = base()
    copied(place)
    harm(place)
    said = found(check(submit.root, trusted, base=before))
    assert f"{place.name} of the base, which was there before" in said[BoardRule.DUPLICATE, "a-copier"]
    assert not any(rule is BoardRule.DUPLICATE and agent == "original" for rule, agent in said)


def test_a_copy_that_came_into_the_base_can_be_removed_again(submit, trusted, base):
    place = submit(1, "original")
    copy = copied(place)
    before = base()
    assert len(check(submit.root, trusted, base=before).findings) == 2
    shutil.rmtree(copy)
    checked = check(submit.root, trusted, base=before)
    assert checked.findings == () and [s.where for s in checked.accepted] == [place]


def test_a_bad_entry_of_the_base_is_no_original(submit, trusted, press, base, tmp_path):
    """It has an untrusted key, and the run's id: whoever gets it merged must not block the run."""
    stranger = submit(1, "a-stranger", signer=press.MAKE.STRANGER)
    before = base()
    shutil.rmtree(stranger)
    shutil.rmtree(tmp_path / "runs")
    submit(1, "original")
    assert check(submit.root, trusted, base=before).findings == ()


def test_the_earlier_date_decides_if_nothing_else_does(dated, submit, trusted):
    dated(1, LATE, "a-replayer", log="one output")
    first = dated(2, EARLY, "original", log="one output")
    (finding,) = (checked := check(submit.root, trusted)).findings
    assert (finding.rule, finding.where.split("/")[2]) == (BoardRule.REPLAY, "a-replayer")
    assert finding.message.endswith(", which began earlier, says its signer")
    assert [s.where for s in checked.accepted] == [first]


def test_a_date_that_is_set_back_does_not_displace_what_was_there(dated, submit, trusted, base):
    place = dated(2, LATE, "original", log="one output")
    before = base()
    dated(1, EARLY, "a-replayer", log="one output")
    assert {w for _, w in found(check(submit.root, trusted))} == {"original"}, (
        "without a base, the date decides"
    )
    checked = check(submit.root, trusted, base=before)
    assert set(found(checked)) == {(BoardRule.REPLAY, "a-replayer")}
    assert [s.where for s in checked.accepted] == [place]


def test_an_agents_name_is_not_taken_by_a_date_that_is_set_back(dated, submit, trusted, base):
    place = dated(2, LATE, "model-1")
    before = base()
    dated(1, EARLY, "model-l")
    assert set(found(check(submit.root, trusted))) == {(BoardRule.LOOKALIKE, "model-1")}
    checked = check(submit.root, trusted, base=before)
    assert set(found(checked)) == {(BoardRule.LOOKALIKE, "model-l")}
    assert [s.where for s in checked.accepted] == [place]


def test_a_base_is_another_directory_that_exists(submit, trusted, tmp_path):
    submit(1)
    with pytest.raises(PrerequisiteError, match="none not found"):
        check(submit.root, trusted, base=tmp_path / "none")
    with pytest.raises(UsageError, match="is the checked repository"):
        check(submit.root, trusted, base=submit.root / ".." / submit.root.name)
    (tmp_path / "empty").mkdir()
    assert check(submit.root, trusted, base=tmp_path / "empty").before == 0


def test_an_entry_that_is_refused_here_and_in_the_base_is_counted(submit, base, tmp_path, capsys):
    submit(1)
    before = base()
    (tmp_path / "keys").mkdir()
    options = [str(submit.root), "--keys", str(tmp_path / "keys"), "--base", str(before)]
    assert speedrun(["submit", "check", *options]) == 1
    assert f"1 entry is in {before} too (0 accepted)" in capsys.readouterr().err
    assert speedrun(["submit", "check", *options, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["before"], told["before_accepted"]) == (1, 0)


def test_check_and_report_take_a_base(submit, press, base, tmp_path, capsys):
    place = submit(1, "original")
    before = base()
    copied(place)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "signer.pem").write_bytes(press.MAKE.SIGNER.public.pem)
    options = [str(submit.root), "--keys", str(tmp_path / "keys"), "--base", str(before)]
    assert speedrun(["submit", "check", *options, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["before"] == 1 and len(told["accepted"]) == len(told["findings"]) == 1
    assert speedrun(["submit", "check", *options]) == 1
    assert f"1 entry is in {before} too (1 accepted)" in capsys.readouterr().err
    assert speedrun(["report", *options, "--out", str(tmp_path / "site"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["config"].startswith("original")


def test_a_good_entry_is_not_refused_for_being_in_the_base(submit, trusted, base):
    submit(1), submit(2, entry=BoardEntry("another", "a model"), agent="another")
    assert check(submit.root, trusted, base=base()).findings == ()
