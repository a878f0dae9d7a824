"""A revoked key is not trusted: who may revoke which key, and what the commands say then."""

from __future__ import annotations

import datetime
import json
import threading

import pytest

from kit.cli import run
from kit.core.digest import canonical_json
from kit.core.errors import SchemaError, SignatureError, UsageError
from kit.result import keys as keys_module
from kit.result.keys import OWN, load, load_or_create, revoke, seal, throwaway, trusted
from kit.result.revocations import FILE, Revocation, new_revocation, revocation_statement
from kit.result.verify import open_bundle

TODAY = datetime.date(2026, 11, 28)


def entry(key, reason="laptop stolen", since=None):
    return new_revocation(key.key_id, reason, since, TODAY)


@pytest.fixture
def keys(tmp_path):
    """A key directory with an own key that trusts two others; gives the directory and the others' signers."""
    folder = tmp_path / "keys"
    load_or_create(folder)
    signers = [throwaway(), throwaway()]
    for number, signer in enumerate(signers):
        (folder / f"k{number}.pem").write_bytes(signer.public.pem)
    return folder, *signers


def signed(path, signer, *entries):
    path.write_bytes(seal(revocation_statement(entries), signer))
    return path


def test_a_key_that_the_own_key_revoked_is_not_trusted_any_more_and_the_others_are(keys):
    folder, one, two = keys
    revoke(folder, entry(one, since="2026-11-01"))
    revoke(folder, entry(two, "lost"))
    known = trusted(folder)
    assert known.revocation(one.key_id).describe() == "laptop stolen, since 2026-11-01"
    assert known.revocation(two.key_id).describe() == "lost, revoked on 2026-11-28"
    assert known.revocation(known.own) is None
    with pytest.raises(UsageError, match="already revoked"):
        revoke(folder, entry(one))


def test_of_two_revocations_at_once_none_is_lost(keys, monkeypatch):
    folder, one, two = keys
    other = threading.Thread(target=revoke, args=(folder, entry(two)))
    sign = keys_module.revocation_statement

    def interrupted(entries):
        if entries[-1].key_id == one.key_id:
            other.start()
            other.join(0.5)  # it must wait: this list is not written yet
        return sign(entries)

    monkeypatch.setattr(keys_module, "revocation_statement", interrupted)
    revoke(folder, entry(one))
    other.join()
    known = trusted(folder)
    assert known.revocation(one.key_id) and known.revocation(two.key_id)


def test_a_result_of_a_revoked_key_verifies_and_is_not_trusted(press, tmp_path):
    folder, signer = tmp_path / "keys", press.MAKE.STRANGER
    load_or_create(folder)
    (folder / "them.pem").write_bytes(signer.public.pem)
    made = press.press(tmp_path / "runs", press.Sample(1), signer)
    assert open_bundle(made, trusted(folder)).trusted
    revoke(folder, entry(signer))
    found = open_bundle(made, trusted(folder))
    assert not found.trusted and found.revoked.reason == "laptop stolen"
    (made / "signer.pem").unlink()
    assert not open_bundle(made, trusted(folder)).trusted, "its key is known, and known to be revoked"


def test_a_list_counts_if_a_trusted_key_signed_it_and_never_against_the_own_key(keys, tmp_path):
    folder, one, two = keys
    own = load(folder)
    board = signed(tmp_path / FILE, one, entry(two), entry(own))
    known = trusted(folder).with_revocations(board)
    assert known.revocation(two.key_id) and known.revocation(own.key_id) is None


def test_a_list_of_an_untrusted_or_revoked_key_does_not_count(keys, tmp_path):
    folder, one, two = keys
    with pytest.raises(SignatureError, match="untrusted key"):
        trusted(folder).with_revocations(signed(tmp_path / FILE, throwaway(), entry(two)))
    revoke(folder, entry(one))
    with pytest.raises(SignatureError, match="signed by a revoked key"):
        trusted(folder).with_revocations(signed(tmp_path / FILE, one, entry(two)))


def test_a_revoked_key_cannot_take_its_revocation_back(keys, tmp_path):
    folder, one, two = keys
    revoke(folder, entry(one))
    for forged in ([entry(two)], [entry(one, "harmless", "2999-01-01")]):
        with pytest.raises(SignatureError):
            trusted(folder).with_revocations(signed(tmp_path / FILE, one, *forged))
    assert trusted(folder).revocation(one.key_id).reason == "laptop stolen"
    again = trusted(folder).with_revocations(signed(tmp_path / FILE, two, entry(one, "harmless")))
    assert again.revocation(one.key_id).reason == "laptop stolen", "the reader's own list speaks first"


def test_a_key_may_revoke_itself_and_what_it_says_later_does_not_count(keys, tmp_path):
    folder, one, two = keys
    third = throwaway()
    board = signed(tmp_path / FILE, one, entry(third), entry(one), entry(two))
    known = trusted(folder).with_revocations(board)
    assert [known.revocation(k.key_id) is not None for k in (third, one, two)] == [True, True, False]


def test_a_list_in_the_key_directory_that_nobody_there_signed_is_no_reason_to_trust(keys):
    folder, one, _ = keys
    signed(folder / FILE, throwaway(), entry(one))
    with pytest.raises(SignatureError, match="untrusted key"):
        trusted(folder)


def test_after_its_own_key_was_revoked_a_directory_needs_a_new_one(keys):
    folder, one, _ = keys
    old = load(folder)
    revoke(folder, entry(old, "rotated"))
    with pytest.raises(UsageError, match="own key is revoked"):
        revoke(folder, entry(one))
    (folder / "old.pem").write_bytes(old.public.pem)
    (folder / OWN).unlink()
    load_or_create(folder)
    revoke(folder, entry(one))
    known = trusted(folder)
    assert [known.revocation(k.key_id) is not None for k in (old, one)] == [True, True]


@pytest.mark.parametrize("fault", ["edited", "another type", "twice", "unknown field", "other subjects"])
def test_a_list_of_another_form_is_refused(keys, tmp_path, fault):
    folder, one, two = keys
    path = signed(tmp_path / FILE, one, entry(two))
    statement = json.loads(revocation_statement([entry(two)]))
    if fault == "edited":
        path.write_bytes(path.read_bytes().replace(b"sig", b"gis"))
    else:
        if fault == "another type":
            statement["predicateType"] = "urn:speedrun-kit:result:v1"
        elif fault == "twice":
            statement["subject"] *= 2
            statement["predicate"]["revoked"] *= 2
        elif fault == "unknown field":
            statement["predicate"]["unrevoked"] = []
        else:
            statement["subject"][0]["digest"]["sha256"] = one.key_id
        path.write_bytes(seal(canonical_json(statement), one))
    with pytest.raises((SchemaError, SignatureError)):
        trusted(folder).with_revocations(path)


@pytest.mark.parametrize("reason", ["", "a\nb", "a\u202e", " a", "x" * 301])
def test_a_reason_is_one_printable_line(keys, reason):
    with pytest.raises(UsageError):
        entry(keys[1], reason)


@pytest.mark.parametrize("since", ["yesterday", "2026-13-01", "2026-1-1", ""])
def test_a_date_is_a_date(keys, since):
    with pytest.raises(UsageError):
        entry(keys[1], since=since)


def test_the_reason_is_shown_on_one_line_whoever_wrote_it():
    hostile = Revocation("0" * 64, "a\n\x1b[2Jtrusted", None, "2026-01-01")
    assert hostile.describe().isprintable()


def test_the_commands_say_that_a_key_is_revoked(press, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    made = press.press(tmp_path / "runs", press.Sample(1), press.MAKE.STRANGER)
    pem = str(made / "signer.pem")
    key_id = press.MAKE.STRANGER.key_id
    assert run(["keys", "revoke", pem, "--reason", "stolen"]) == 3, "there is no key to sign the list with"
    assert run(["keys", "generate"]) == 0
    assert run(["keys", "trust", pem, "--name", "them"]) == 0
    assert run(["bundle", "verify", str(made)]) == 0
    assert run(["keys", "revoke", "--reason", "laptop stolen", "--since", "2026-11-01", pem]) == 0
    assert run(["keys", "revoke", key_id, "--reason", "again"]) == 2
    capsys.readouterr()
    assert run(["bundle", "verify", str(made)]) == 1
    said = capsys.readouterr()
    assert "signed by a revoked key (laptop stolen, since 2026-11-01)" in said.out
    assert "keys trust" not in said.err, "it does not say to trust it"
    assert run(["bundle", "verify", str(made), "--key", pem]) == 1, "naming the key is not enough"
    capsys.readouterr()
    assert run(["bundle", "show", str(made)]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == f"  signed by     {key_id} (REVOKED: laptop stolen, since 2026-11-01)"
    assert run(["keys", "list"]) == 0
    assert f"{key_id}  them  REVOKED: laptop stolen, since 2026-11-01" in capsys.readouterr().out
    assert run(["keys", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [k["revoked"] is not None for k in listed["keys"]] == [False, True]
    assert run(["keys", "trust", pem, "--name", "them"]) == 0
    assert "still not trusted" in capsys.readouterr().err
