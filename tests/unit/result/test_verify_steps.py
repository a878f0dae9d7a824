"""The eight steps of verification, each with assets that it alone refuses."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from kit.core.errors import DigestMismatch, IntegrityError, PrerequisiteError, SchemaError, SignatureError
from kit.core.schema import parse_json
from kit.result import derive, dsse, intoto, keys, signed, statement, verify
from kit.result.keys import Trusted
from kit.result.predicate import Score, Verdict
from kit.result.verify import STEPS, open_bundle
from kit.values.run_result import RunStatus


def bad_assets(assets):
    return sorted(p.name for p in assets.glob("bad_*.json"))


def step_of(name):
    return int(name.split("_")[1])


BAD = (
    "bad_0_duplicate_key.json",
    "bad_0_pretty_printed.json",
    "bad_1_high_s.json",
    "bad_1_padding_bits.json",
    "bad_1_two_signatures.json",
    "bad_2_unknown_key.json",
    "bad_3_payload_edited.json",
    "bad_4_other_payload_type.json",
    "bad_4_payload_pretty_printed.json",
    "bad_5_nonce_not_hexadecimal.json",
    "bad_6_other_log.json",
    "bad_7_loss_not_in_log.json",
    "bad_7_verdict_does_not_follow.json",
)
KINDS = {
    0: SchemaError,
    1: SignatureError,
    2: SignatureError,
    3: SignatureError,
    4: (SignatureError, SchemaError),
    5: SchemaError,
    6: DigestMismatch,
    7: SchemaError,
}


def test_the_table_names_every_bad_asset_and_every_step_has_one(assets):
    assert bad_assets(assets) == sorted(BAD)
    assert {step_of(name) for name in BAD} == set(range(len(STEPS)))


def test_the_good_bundle_is_accepted_with_its_values(assets, trusted, make):
    found = open_bundle(assets / "good.json", trusted)
    assert found.trusted
    assert found.key_id == make.SIGNER.key_id
    assert found.unchecked == ()
    assert found.predicate == make.predicate(assets)
    assert found.statement.subjects == make.subjects(assets)


@pytest.mark.parametrize("name", BAD)
def test_each_bad_asset_is_refused_by_the_step_in_its_name(name, assets, trusted):
    with pytest.raises(KINDS[step_of(name)], match=rf"^step {step_of(name)}: "):
        open_bundle(assets / name, trusted)


def _without_step(number, monkeypatch, make):
    """Make one step pass everything, so that only the others can refuse."""

    def first_signature(document):
        del document["dsseEnvelope"]["signatures"][1:]
        return document

    whole_shape = dsse.envelope_of
    match number:
        case 0:
            monkeypatch.setattr(
                dsse, "parse_canonical", lambda data, where, is_file=True: make.json.loads(data)
            )
        case 1:
            monkeypatch.setattr(dsse, "_low_s", lambda signature: None)
            monkeypatch.setattr(dsse, "_base64", lambda text, where: dsse.base64.b64decode(text))
            monkeypatch.setattr(dsse, "envelope_of", lambda d: whole_shape(first_signature(d)))
        case 2:
            monkeypatch.setattr(
                signed, "find_key", lambda bundle, hint, trusted: (make.STRANGER.public, True)
            )
        case 3:
            monkeypatch.setattr(type(make.SIGNER.public), "verify", lambda self, signature, data: None)
        case 4:
            monkeypatch.setattr(
                intoto, "parse_typed", lambda envelope, *kinds: parse_json(envelope.payload, "payload")
            )
        case 5:
            monkeypatch.setattr(verify, "validate", lambda schema, document, where: None)
        case 6:
            monkeypatch.setattr(verify, "_compare_files", lambda where, statement: None)
        case 7:
            monkeypatch.setattr(verify, "_compare_statement", lambda statement: None)
            monkeypatch.setattr(verify, "_compare_log", lambda where, statement: None)


@pytest.mark.parametrize("name", BAD)
def test_no_other_step_would_refuse_the_asset(name, assets, trusted, make, monkeypatch):
    _without_step(step_of(name), monkeypatch, make)
    assert open_bundle(assets / name, trusted).trusted


def test_the_docstring_numbers_the_steps_in_their_order():
    numbered = re.findall(r"^([0-9])\. ", verify.__doc__, re.MULTILINE)
    assert numbered == [str(n) for n in range(len(STEPS))]


def test_the_assets_are_what_their_script_writes(copy_assets, make):
    for name, data in make.bundles(copy_assets).items():
        assert (copy_assets / name).read_bytes() == data, f"run: python tests/assets/bundles/make.py ({name})"


def test_no_byte_of_a_bundle_can_change_unnoticed(put, good, trusted):
    begin = good.index(b'"payload":"') + len(b'"payload":"')
    end = good.index(b'"', begin)
    for index in (*range(begin), *range(begin, end, 16), *range(end - 4, len(good))):
        changed = bytearray(good)
        changed[index] ^= 1
        path = put(bytes(changed))
        with pytest.raises(IntegrityError, match=r"^step [0-3]: "):
            open_bundle(path, trusted)


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_truncated_bundle_is_refused(put, good, trusted, cut):
    with pytest.raises(SchemaError, match=r"^step 0: "):
        open_bundle(put(good[:cut]), trusted)


def test_a_huge_bundle_is_refused_before_it_is_parsed(put, good, trusted, monkeypatch):
    monkeypatch.setattr(
        dsse, "parse_canonical", lambda data, where, is_file=True: pytest.fail("it was parsed")
    )
    with pytest.raises(SchemaError, match=r"^step 0: .* is larger than"):
        open_bundle(put(good + b" " * dsse.MAX_BUNDLE), trusted)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b"[" * 900 + b"]" * 900,
        b'{"a":' * 600 + b"1" + b"}" * 600,
        b"[" + b"[]," * 1_300_000 + b"[]]",
        b"[" + b"0," * 2_000_000 + b"0]",
        b'["' + b'\\"' * 2_000_000 + b"\\",
        b"NaN",
        b"1e999",
        b"9" * 5000,
        b'"\\ud800"',
        b'{"\\ud800":1}',
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"{} {}",
        b"",
    ],
    ids=[
        "deep array",
        "deep object",
        "array that json.loads takes",
        "object that json.loads takes",
        "a million arrays",
        "two million numbers",
        "a text without an end",
        "NaN",
        "inf",
        "digits",
        "surrogate",
        "surrogate key",
        "utf-16",
        "bom",
        "two",
        "empty",
    ],
)
def test_json_that_breaks_parsers_is_refused_in_step_0(put, trusted, data):
    with pytest.raises(SchemaError, match=r"^step 0: "):
        open_bundle(put(data), trusted)


@pytest.mark.parametrize(
    "payload", [b"[" * 900 + b"]" * 900, b"[" + b"0," * 1_000_000 + b"0]"], ids=["deep", "many"]
)
def test_a_signed_payload_that_breaks_parsers_is_refused_in_step_4(put, trusted, make, payload):
    with pytest.raises(SchemaError, match=r"^step 4: payload: "):
        open_bundle(put(make.signed(payload)), trusted)


@pytest.mark.parametrize("data", [b"null", b"[]", b"1", b'""', b"{}"])
def test_json_of_another_shape_is_refused_in_step_1(put, trusted, data):
    with pytest.raises(SignatureError, match=r"^step 1: "):
        open_bundle(put(data), trusted)


def test_a_link_to_a_device_is_not_read(run_folder, trusted):
    (run_folder / "result.json").unlink()
    (run_folder / "result.json").symlink_to("/dev/zero")
    with pytest.raises(SchemaError, match=r"^step 0: .*not a regular file"):
        open_bundle(run_folder, trusted)


def test_an_absent_bundle_is_missing_not_bad(tmp_path, trusted):
    with pytest.raises(PrerequisiteError):
        open_bundle(tmp_path / "result.json", trusted)


def test_the_folder_of_a_run_stands_for_its_bundle(run_folder, trusted):
    assert open_bundle(run_folder, trusted).path == run_folder / "result.json"


def test_the_key_beside_the_bundle_proves_the_bytes_but_earns_no_trust(run_folder):
    found = open_bundle(run_folder, Trusted(()))
    assert not found.trusted


def test_a_key_beside_the_bundle_with_another_id_is_not_used(run_folder, make):
    (run_folder / "signer.pem").write_bytes(make.STRANGER.public.pem)
    with pytest.raises(SignatureError, match=r"^step 2: "):
        open_bundle(run_folder, Trusted(()))


def test_a_hint_to_another_trusted_key_is_refused(put, good, make):
    def point_to_stranger(document):
        document["verificationMaterial"]["publicKey"]["hint"] = make.STRANGER.key_id
        document["dsseEnvelope"]["signatures"][0]["keyid"] = make.STRANGER.key_id

    both = Trusted((make.SIGNER.public, make.STRANGER.public))
    with pytest.raises(SignatureError, match=r"^step 3: "):
        open_bundle(put(make.edited(good, point_to_stranger)), both)


def test_a_payload_type_changed_after_signing_is_refused(put, good, trusted, make):
    def change(document):
        document["dsseEnvelope"]["payloadType"] = "application/json"

    with pytest.raises(SignatureError, match=r"^step 3: "):
        open_bundle(put(make.edited(good, change)), trusted)


@pytest.mark.parametrize("key", ["_type", "predicateType"])
def test_a_statement_of_another_type_is_refused_in_step_4(put, good, trusted, make, key):
    def change(document):
        document[key] = "https://example.org/other"

    with pytest.raises(SignatureError, match=rf"^step 4: {key} is "):
        open_bundle(put(make.with_payload(good, change)), trusted)


def test_a_payload_that_is_no_object_is_refused_in_step_4(put, trusted, make):
    with pytest.raises(SignatureError, match=r"^step 4: "):
        open_bundle(put(make.signed(b"[]")), trusted)


def test_an_unknown_field_anywhere_is_refused_in_step_5(put, good, trusted, make):
    def walk(document, path=()):
        if isinstance(document, dict):
            yield path
            for key, value in document.items():
                yield from walk(value, (*path, key))
        if isinstance(document, list):
            for index, value in enumerate(document):
                yield from walk(value, (*path, index))

    free = {"env", "fidelity", "probe", "figures"}
    tried = 0
    for path in walk(make.payload_of(good)):
        if path and path[-1] in free:
            continue

        def add(document, path=path):
            for key in path:
                document = document[key]
            document["extra"] = 1

        with pytest.raises(SchemaError, match=r"^step 5: "):
            open_bundle(put(make.with_payload(good, add)), trusted)
        tried += 1
    assert tried > 30


@pytest.mark.parametrize("name", ["guest.log", "stamps", "submission/train_gpt2.py"])
@pytest.mark.parametrize("change", ["edited", "absent", "link"])
def test_a_bound_file_that_is_changed_absent_or_a_link_is_refused(
    run_folder, trusted, name, change, tmp_path
):
    path = run_folder / name
    data = path.read_bytes()
    path.unlink()
    match change:
        case "edited":
            path.write_bytes(data + b"\n")
        case "link":
            (tmp_path / "elsewhere").write_bytes(data)
            path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DigestMismatch, match=r"^step 6: ") as e:
        open_bundle(run_folder, trusted)
    assert "--bundle-only" in e.value.hint


@pytest.mark.parametrize("kind", ["file", "nested", "link", "fifo"])
def test_an_additional_file_in_the_submission_is_refused(run_folder, trusted, kind):
    submission = run_folder / "submission"
    match kind:
        case "file":
            (submission / "more.py").write_text("")
        case "nested":
            (submission / "lib").mkdir()
            (submission / "lib" / "more.py").write_text("")
        case "link":
            (submission / "more.py").symlink_to("train_gpt2.py")
        case "fifo":
            os.mkfifo(submission / "more.py")
    with pytest.raises(DigestMismatch, match=r"^step 6: "):
        open_bundle(run_folder, trusted)


def test_the_error_names_the_files_that_differ(run_folder, trusted):
    submission = run_folder / "submission"
    (submission / "train_gpt2.py").rename(submission / "zz.py")
    for number in range(6):
        (submission / f"more_{number}.py").write_text("")
    with pytest.raises(DigestMismatch) as e:
        open_bundle(run_folder, trusted)
    assert "that ran: more_0.py was added, more_1.py was added," in e.value.message
    assert e.value.message.endswith(" and 3 more files")
    for path in submission.glob("more_*"):
        path.unlink()
    with pytest.raises(DigestMismatch, match=r"that ran: train_gpt2.py is missing, zz.py was added$"):
        open_bundle(run_folder, trusted)


def test_a_bundle_alone_is_checked_without_its_files_only_on_request(tmp_path, good, trusted):
    (tmp_path / "result.json").write_bytes(good)
    with pytest.raises(DigestMismatch, match=r"^step 6: .*submission"):
        open_bundle(tmp_path, trusted)
    assert open_bundle(tmp_path, trusted, bundle_only=True).unchecked == (6,)


def test_a_bundle_alone_still_has_to_be_consistent(assets, trusted):
    with pytest.raises(SchemaError, match=r"^step 7: "):
        open_bundle(assets / "bad_7_verdict_does_not_follow.json", trusted, bundle_only=True)


def _edit(path):
    *parents, last = path.split(".")

    def change(document, value):
        for key in parents:
            document = document[int(key) if key.isdigit() else key]
        document[int(last) if last.isdigit() else last] = value

    return change


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "predicate.inputs.submission.0.size",
            1,
            "step 6: .* differ from the submission that ran: .* was changed",
        ),
        ("predicate.observations.val_point_host_ms.2", 9400.5, "step 7: the host stamps"),
        ("predicate.observations.val_point_host_ms", [], "step 7: the number of host stamps"),
        ("predicate.observations.output_bytes", 5, "step 7: the size of guest.log differs"),
        ("predicate.observations.wall_s", 100, "step 7: the phases add up to"),
        ("predicate.observations.train_wall_s", 60, "step 7: the training took longer"),
        ("predicate.claims.steps", 40, "step 7: the verdict is reached, but the other fields give failed"),
        ("predicate.claims.train_time_ms", 4000, "step 7: the final claims differ from the last"),
        ("predicate.claims.val_points_printed", 2, "step 7: there are more validation points"),
        ("predicate.run.status", "crashed", "step 7: the verdict is reached, but"),
        ("predicate.run.exit_code", 1, "step 7: the status is completed, but"),
        ("predicate.audit.checks.0.outcome", "failed", "step 7: .* the other fields give refused"),
        ("predicate.score.ranked", True, "step 7: the result is marked as ranked, but the smoke profile"),
        ("predicate.score.unranked_because", [], "step 7: ranked and unranked_because"),
    ],
)
def test_a_contradiction_that_was_signed_is_refused(put, good, trusted, make, path, value, message):
    bundle = make.with_payload(good, lambda document: _edit(path)(document, value))
    with pytest.raises(IntegrityError, match=f"^{message}"):
        open_bundle(put(bundle), trusted)


def test_the_claims_of_a_lost_run_are_not_compared_with_its_cut_files(run_folder, trusted, make):
    """What a killed kit had written ends anywhere, so only the digests bind it."""
    stamps = run_folder / "stamps"
    stamps.write_bytes(stamps.read_bytes()[:-9])
    honest = make.predicate(make.HERE)
    nothing = derive.claims_of((), honest.claims.grammar)
    lost = replace(
        honest,
        run=replace(honest.run, status=RunStatus.LOST, exit_code=None, ended_in=None),
        claims=nothing,
        observations=replace(honest.observations, val_point_host_ms=(), phases=()),
        score=Score(Verdict.FAILED, False, ("the run was lost",), None),
    )
    payload = statement.statement(lost, make.subjects(run_folder))
    (run_folder / "result.json").write_bytes(keys.seal(payload, make.SIGNER))
    assert open_bundle(run_folder, trusted).predicate == lost


GOLDEN_RUN = next((Path(__file__).parents[2] / "assets" / "golden" / "ranked").glob("r*"))


def test_a_result_of_version_0_1_is_read_in_its_own_envelope_alone(put, trusted, make):
    """Each version wrote one shape: its predicate in its envelope. A mixture is nobody's."""
    old = dsse.envelope_of(dsse.parse_canonical((GOLDEN_RUN / "result.json").read_bytes(), "bundle"))
    assert not old.with_keyid
    with pytest.raises(SignatureError, match=r"^step 4: .* in this envelope format"):
        open_bundle(put(make.signed(old.payload)), trusted, bundle_only=True)
    verified = open_bundle(GOLDEN_RUN, trusted)
    assert verified.predicate.task.set == "paper-1" and verified.predicate.audit.tier_rules == 1
    assert verified.document["predicateType"].endswith(":v1")


def test_a_result_of_today_in_the_old_envelope_is_refused(put, good, trusted, make):
    def old(document):
        del document["verificationMaterial"]["tlogEntries"]
        del document["dsseEnvelope"]["signatures"][0]["keyid"]

    with pytest.raises(SignatureError, match=r"^step 4: .* in this envelope format"):
        open_bundle(put(make.edited(good, old)), trusted)


def test_half_of_the_new_shape_is_refused(put, good, trusted, make):
    def without_keyid(document):
        del document["dsseEnvelope"]["signatures"][0]["keyid"]

    def without_entries(document):
        del document["verificationMaterial"]["tlogEntries"]

    for change in (without_keyid, without_entries):
        with pytest.raises(SignatureError, match=r"^step 1: "):
            open_bundle(put(make.edited(good, change)), trusted)
