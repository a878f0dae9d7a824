"""Rows that look alike are one row: names have one spelling, lookalikes and revoked keys are refused."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace

import pytest

from kit.cli import run as speedrun
from kit.core.errors import SchemaError
from kit.leaderboard.submit.check import BoardRule, check
from kit.leaderboard.submit.entry import BoardEntry, read_entry
from kit.leaderboard.submit.names import name_fault, skeletons
from kit.result.keys import Trusted, seal, throwaway
from kit.result.revocations import FILE, new_revocation, revocation_statement

GOOD = [
    "GPT-4o", "claude 3.5 (thinking)", "модель 2", "通义千问 Qwen2", "Llama-3.1/8B", "é", "ñandú",
    "한국어 ko",
]  # fmt: skip
BAD = {
    "": "empty", "a\n": "not shown as it is", "a\u200b": "not shown", "a\u202eb": "not shown",
    "a\ufe0f": "not shown", "a\u00a0b": "not shown", "a\u3164": "not shown", "a" + "\u0323" * 6: "not shown",
    "a ": "blank", " a": "blank", "a  b": "blank", "e\u0301": "NFC", "x" * 101: "more than",
    "gрt": "mixes scripts", "αlpha": "mixes scripts", "gpt-๐": "mixes scripts", "ᏀᏢᎢ": "unusual script",
    "ꓖꓑꓔ": "unusual script", "ɢᴘᴛ\u02bc": "unusual script", "a·b": "sign", "a–b": "sign",
    "no hints": "hints", "Hints 1, 2": "hints",
}  # fmt: skip
ALIKE = [
    ("GPT-4o", "gpt-4O"), ("GPT-4o", "GPT-40"), ("model-1", "model-l"), ("model-1", "model-I"), ("ai", "al"),
    ("copa", "сора"), ("KOMETA", "КОМЕТА"), ("ΑΒΕ", "ABE"), ("ABE", "АВЕ"), ("NANO", "ΝΑΝΟ"),
    ("νανο", "ΝΑΝΟ"),
    ("HYPE", "НУРЕ"), ("café", "cafe"), ("GPT", "ＧＰＴ"), ("modern", "modem"), ("fine", "ﬁne"),
    ("a_b", "a-b"), ("a b", "a-b"), ("gpt-2", "gpt-²"), ("straße", "strasse"),
    ("gpt-4", "gpt一4"), ("gpt-4", "gpt\u30fc4"), ("gpt-4", "gpt\u31614"), ("model", "m〇de\u3163"),
    ("工", "エ"),
    ("ロカニ", "口力二"), ("ハトタ", "八卜夕"), ("ペン", "ぺン"), ("model", "mo\u0256el"),
    ("model", "mode\u026d"),
    ("task", "tas\u0138"), ("o1", "o\u01c3"), ("GPT", "\u0193PT"), ("model.", "model"), ("model-", "model"),
    ("cloud", "doud"),
]  # fmt: skip


def set_entry(place, **fields):
    document = json.loads((place / "entry.json").read_bytes())
    (place / "entry.json").write_text(json.dumps(document | fields))


@pytest.mark.parametrize("name", GOOD)
def test_a_readable_name_is_one(name):
    assert name_fault(name) == ""


@pytest.mark.parametrize("name", BAD)
def test_a_name_that_is_not_what_it_looks_like_is_refused_with_the_reason(name):
    assert BAD[name] in name_fault(name) and name_fault(name).isprintable()


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_names_that_look_alike_share_a_skeleton(one, other):
    assert any(a == b for a, b in zip(skeletons(one), skeletons(other), strict=True))


@pytest.mark.parametrize(
    ("one", "other"), [("gpt-4", "gpt-5"), ("a", "b"), ("claude", "clause"), ("o1", "o3")]
)
def test_names_that_do_not_look_alike_have_two(one, other):
    assert all(a != b for a, b in zip(skeletons(one), skeletons(other), strict=True))


@pytest.mark.parametrize("hints", [[1.0], [2, 1], [1, 1], [True], [0], [4], ["1"], [1, 2.0]])
def test_hints_are_a_set_of_integers_with_one_spelling(submit, trusted, hints):
    place = submit(1)
    set_entry(place, hints=hints)
    with pytest.raises(SchemaError, match="hints"):
        read_entry(place / "entry.json")
    assert [f.rule for f in check(submit.root, trusted).findings] == [BoardRule.INVALID]


@pytest.mark.parametrize("model", [name for name in BAD if name])
def test_an_entry_whose_model_has_no_such_name_is_refused_and_not_written(submit, trusted, model):
    place = submit(1)
    set_entry(place, model=model)
    (finding,) = check(submit.root, trusted).findings
    assert finding.rule is BoardRule.INVALID and finding.message.isprintable()
    with pytest.raises(SchemaError):
        BoardEntry("an-agent", model).to_json()


def test_an_entry_of_the_first_form_reads_as_before(submit, trusted):
    place = submit(
        1, entry=BoardEntry("an-agent", "GPT-4o (2024)", (1, 3), "a note", "https://example.org/c")
    )
    assert read_entry(place / "entry.json").hints == (1, 3)
    assert check(submit.root, trusted).findings == ()


def test_of_two_rows_that_look_alike_the_later_one_is_refused(submit, trusted, press):
    run = press.MAKE.predicate(press.HERE).run

    def extra(n, day):
        made = replace(run, id=f"r03-20260101T000000Z-{n:08x}", nonce=f"{n:032x}", gpus=8)
        return (("run", replace(made, started_at=f"2026-01-{day:02d}T00:00:00.000+00:00")),)

    later = submit(1, entry=BoardEntry("an-agent", "GPT-4O"), extra=extra(1, 9))
    first = submit(2, entry=BoardEntry("an-agent", "GPT-4o"), extra=extra(2, 3))
    same = submit(3, entry=BoardEntry("an-agent", "GPT-4o", (1,)), extra=extra(3, 12))
    squat = submit(4, entry=BoardEntry("an-agent-1", "x"), extra=extra(4, 5))
    again = submit(5, entry=BoardEntry("an-agent-l", "x"), extra=extra(5, 4))
    checked = check(submit.root, trusted)
    assert {(f.rule, f.where.rsplit("/", 1)[-1]) for f in checked.findings} == {
        (BoardRule.LOOKALIKE, later.name), (BoardRule.LOOKALIKE, squat.name),
    }  # fmt: skip
    assert {s.where for s in checked.accepted} == {first, same, again}
    assert checked.exit_code == 1 and all(f.message.isprintable() for f in checked.findings)


def test_a_refused_submission_takes_no_name_from_others(submit, trusted):
    refused = submit(1, entry=BoardEntry("an-agent", "GPT-4O"), pinned=False)
    good = submit(2, entry=BoardEntry("an-agent", "GPT-4o"))
    checked = check(submit.root, trusted)
    assert [s.where for s in checked.accepted] == [good]
    assert {f.where.rsplit("/", 1)[-1] for f in checked.findings} == {refused.name}


def entry(key, reason="laptop stolen"):
    return new_revocation(key.key_id, reason, "2026-11-01", datetime.date(2026, 11, 28))


def test_a_board_honours_its_list_of_revoked_keys_if_a_trusted_key_signed_it(submit, press, tmp_path, capsys):
    signer, owner = press.MAKE.SIGNER, throwaway()
    place = submit(1)
    keys = tmp_path / "board-keys"
    keys.mkdir(mode=0o700)
    (keys / "them.pem").write_bytes(signer.public.pem)
    (submit.root / FILE).write_bytes(seal(revocation_statement([entry(signer)]), owner))
    known = Trusted((signer.public,))
    assert [f.rule for f in check(submit.root, known).findings] == [BoardRule.UNTRUSTED], "a stranger's list"
    assert len(check(submit.root, known).accepted) == 1
    (keys / "owner.pem").write_bytes(owner.public.pem)
    (finding,) = check(submit.root, Trusted((signer.public, owner.public))).findings
    assert finding.rule is BoardRule.REVOKED and finding.where.endswith(place.name)
    assert "laptop stolen, since 2026-11-01" in finding.message and signer.key_id in finding.message
    assert speedrun(["submit", "check", str(submit.root), "--keys", str(keys)]) == 1
    assert speedrun(["report", str(submit.root), "--keys", str(keys), "--out", str(tmp_path / "site")]) == 0
    page = (tmp_path / "site" / "index.html").read_text()
    assert "revoked key: the key" in page and "laptop stolen" in page and "bundles/" not in page


def test_a_list_that_is_damaged_or_signed_by_a_revoked_key_is_a_finding(submit, press):
    signer, owner = press.MAKE.SIGNER, throwaway()
    submit(1)
    known = replace(Trusted((signer.public, owner.public)), revoked=(entry(owner),))
    (submit.root / FILE).write_bytes(seal(revocation_statement([entry(signer)]), owner))
    (finding,) = check(submit.root, known).findings
    assert (finding.rule, finding.where) == (BoardRule.UNTRUSTED, FILE) and "revoked key" in finding.message
    (submit.root / FILE).write_bytes(b"{}")
    assert {f.where for f in check(submit.root, known).findings} == {FILE}
    (submit.root / FILE).unlink()
    (submit.root / FILE).symlink_to("/etc/passwd")
    assert [f.rule for f in check(submit.root, known).findings] == [BoardRule.INVALID]
