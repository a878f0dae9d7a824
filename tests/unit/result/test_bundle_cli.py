"""`speedrun bundle` and `speedrun keys`."""

import json
import shutil
from dataclasses import replace

import pytest

from kit.cli import run
from kit.core.digest import sha256_bytes
from kit.result.predicate import CompileCache
from kit.values.profile import Profile

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


@pytest.fixture
def signer(assets):
    return str(assets / "signer.pem")


def test_a_good_bundle_by_a_trusted_key_is_a_yes(assets, signer, capsys):
    assert run(["bundle", "verify", str(assets / "good.json"), "--key", signer]) == 0
    out = capsys.readouterr().out
    assert "ok" in out
    assert "unranked" in out


def test_a_good_bundle_by_a_key_that_is_not_trusted_is_a_no_until_it_is(assets, capsys):
    assert run(["bundle", "verify", str(assets / "good.json")]) == 1
    said = capsys.readouterr()
    assert "valid, but the key is not trusted" in said.out
    assert run(said.err.split("then: speedrun ")[1].split()) == 0, "what it says to do"
    assert run(["bundle", "verify", str(assets / "good.json")]) == 0


def test_a_bad_bundle_is_refused_with_its_step(assets, signer, capsys):
    assert run(["bundle", "verify", str(assets / "bad_3_payload_edited.json"), "--key", signer]) == 4
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "step 3: " in shown.err


def test_an_absent_bundle_is_missing(home, signer):
    assert run(["bundle", "verify", str(home / "none.json"), "--key", signer]) == 3


def test_many_bundles_are_all_answered_and_the_worst_decides(assets, signer, home, capsys):
    paths = [str(assets / "good.json"), str(assets / "bad_6_other_log.json"), str(home / "none.json")]
    assert run(["bundle", "verify", *paths, "--key", signer, "--json"]) == 4
    results = json.loads(capsys.readouterr().out)["results"]
    assert [r["exit"] for r in results] == [0, 4, 3]
    assert results[0]["tier"] == "screened"
    assert results[1]["error"].startswith("step 6: ")


@pytest.mark.parametrize("name", ["empty.json", "absent.json", "folder"])
def test_a_message_names_the_file_once(home, capsys, name):
    (home / "empty.json").touch()
    (home / "folder").mkdir()
    (home / "folder" / "result.json").touch()
    assert run(["bundle", "verify", str(home / name)]) in (3, 4)
    error, hint = capsys.readouterr().err.splitlines()
    assert error.count(str(home / name)) == 1 and error.count(name) == 1
    assert hint.startswith("hint: pass ")


def test_a_place_where_nobody_can_look_does_not_end_the_others(assets, signer, home, capsys):
    paths = [str(home / ("x" * 300)), str(assets / "good.json")]
    assert run(["bundle", "verify", *paths, "--key", signer, "--json"]) == 3
    results = json.loads(capsys.readouterr().out)["results"]
    assert [r["exit"] for r in results] == [3, 0]
    assert results[0]["error"].startswith("cannot read ")


def test_a_bundle_without_its_files_needs_bundle_only(assets, signer, home, capsys):
    alone = home / "result.json"
    shutil.copy(assets / "good.json", alone)
    assert run(["bundle", "verify", str(alone), "--key", signer]) == 4
    assert run(["bundle", "verify", str(home), "--key", signer, "--bundle-only"]) == 0
    assert "files beside the bundle not checked" in capsys.readouterr().out


def test_a_bundle_alone_is_told_what_can_be_verified_and_the_hint_works(assets, signer, home, capsys):
    alone = home / "result.json"
    shutil.copy(assets / "good.json", alone)
    assert run(["bundle", "verify", str(alone), "--key", signer]) == 4
    said = capsys.readouterr().err
    assert "step 6: result.json is without its files: submission/, guest.log and stamps are missing" in said
    hint = said.split("speedrun ")[1].split()
    assert run([*hint, "--key", signer]) == 0
    said = capsys.readouterr().err
    assert "  checked: size and encoding, format, key, signature, types, schema, consistency\n" in said
    assert "  not checked: the submission, its output" in said
    assert run(["bundle", "verify", str(alone)]) == 4
    hint = capsys.readouterr().err.split("then: speedrun ")[1].replace("FILE", signer).split()
    assert hint[-1] == "--bundle-only"
    assert run(hint) == 0


def test_a_damaged_bundle_alone_is_not_sent_elsewhere(assets, home, signer, capsys):
    alone = home / "result.json"
    shutil.copy(assets / "bad_3_payload_edited.json", alone)
    assert run(["bundle", "verify", str(alone), "--key", signer]) == 4
    said = capsys.readouterr().err
    assert "step 3: " in said and "--bundle-only" not in said


@pytest.mark.parametrize(
    "spell",
    [
        lambda text: json.dumps(json.loads(text), indent=2),
        lambda text: json.dumps(json.loads(text)),
        lambda text: text + "\n",
        lambda text: "\r\n\t" + text,
    ],
    ids=["indented", "spaced", "line-end", "before"],
)
def test_a_reformatted_bundle_gets_the_reason(assets, signer, home, capsys, spell):
    other = home / "result.json"
    other.write_text(spell((assets / "good.json").read_text()), newline="")
    assert run(["bundle", "verify", str(other), "--key", signer, "--bundle-only"]) == 4
    said = capsys.readouterr().err
    assert f"step 0: {other}: the file was re-formatted: same content, other bytes" in said
    assert "hint: ask for the original file" in said


@pytest.mark.parametrize(
    "spell",
    [
        lambda text: text.replace("mediaType", "media\\u0054ype"),
        lambda text: json.dumps(dict(reversed(json.loads(text).items())), separators=(",", ":")),
        lambda text: json.dumps(dict(reversed(json.loads(text).items())), indent=2),
    ],
    ids=["escape", "order", "order-and-spaces"],
)
def test_other_spellings_are_not_called_reformatted(assets, signer, home, capsys, spell):
    other = home / "result.json"
    other.write_text(spell((assets / "good.json").read_text()))
    assert run(["bundle", "verify", str(other), "--key", signer, "--bundle-only"]) == 4
    said = capsys.readouterr().err
    assert "not in canonical form (RFC 8785)" in said and "re-formatted" not in said


def test_show_says_that_a_smoke_run_is_unranked_and_why(assets, signer, capsys):
    assert run(["bundle", "show", str(assets / "good.json"), "--key", signer]) == 0
    text = capsys.readouterr().out
    for part in ("UNRANKED", "because the smoke profile", "warmup", "3.2790", "9.4 s", "contained", "tier"):
        assert part in text


def test_show_names_the_compile_cache_of_a_warm_run(home, press, make, assets, capsys):
    assert run(["bundle", "show", str(assets / "good.json")]) == 0
    assert "? compile cache cold\n" in capsys.readouterr().out
    digest = sha256_bytes(b"manifest")
    warm = replace(make.predicate(assets).run, compile_cache=CompileCache.WARM, compile_cache_sha256=digest)
    place = press.press(home, press.Sample(1, profile=Profile.SMOKE, extra=(("run", warm),)))
    assert run(["bundle", "show", str(place / "result.json"), "--bundle-only"]) == 0
    text = capsys.readouterr().out
    assert f"? compile cache warm, sha256 {digest}\n" in text
    assert "because the run started with a warm compile cache" in text


def test_show_of_a_key_that_is_not_trusted_says_so(assets, capsys):
    assert run(["bundle", "show", str(assets / "good.json")]) == 0
    text = capsys.readouterr().out
    assert "NOT TRUSTED" in text
    assert "self-reported" in text


def test_show_prints_nothing_of_a_bad_bundle(assets, signer, capsys):
    assert run(["bundle", "show", str(assets / "bad_3_payload_edited.json"), "--key", signer]) == 4
    assert capsys.readouterr().out == ""


def test_show_as_json_holds_the_verified_predicate(assets, signer, make, capsys):
    assert run(["bundle", "show", str(assets / "good.json"), "--key", signer, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["predicate"] == make.payload_of((assets / "good.json").read_bytes())["predicate"]
    assert shown["tier"] == "screened"


def test_show_of_many_points_keeps_the_first_and_the_last(assets, make):
    from dataclasses import replace

    from kit.cli.result_text import MAX_POINTS, format_bundle
    from kit.result import derive
    from kit.result.verify import VerifiedBundle
    from kit.values.log import Grammar
    from kit.values.run_result import Point

    points = tuple(Point(i, 99, 4.0 + i, i, i) for i in range(100))
    base = make.predicate(assets)
    predicate = replace(
        base,
        claims=derive.claims_of(points, Grammar.STEP),
        observations=replace(base.observations, val_point_host_ms=derive.host_ms_of(points)),
    )
    statement = make.statement.Statement(predicate, make.subjects(assets))
    text = format_bundle(VerifiedBundle(assets, statement, {}, make.SIGNER.key_id, True, ()))
    assert f"... {100 - MAX_POINTS} more ..." in text
    assert "4.0000" in text
    assert "103.0000" in text
    assert "54.0000" not in text


def test_no_text_of_the_signer_is_on_a_line_that_was_checked(assets, signer, make, home, capsys):
    """Of the check that keeps the tier away, the name is the reader's finding, and the detail is not."""

    def skip(document):
        predicate = document["predicate"]
        predicate["environment"]["isolation"]["level"] = "contained"
        check = next(c for c in predicate["audit"]["checks"] if c["id"] == "trace.clock")
        check |= {"outcome": "skipped", "detail": "never mind; tier: canary + held-out"}

    forged = make.with_payload((assets / "good.json").read_bytes(), skip)
    (home / "forged.json").write_bytes(forged)
    where = ["bundle", "show", str(home / "forged.json"), "--bundle-only", "--key", str(signer)]
    assert run(where) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  tier          self-reported; next: the check trace.clock was skipped" in lines
    assert [line[0] for line in lines if "canary + held-out" in line] == ["?", "?"]
    assert run([*where, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["missing_for_next_tier"] == "the check trace.clock was skipped"
    assert answer["signer_says_of_it"] == "never mind; tier: canary + held-out"


def test_the_schema_is_printed_whole(capsys):
    assert run(["bundle", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$id"] == "urn:speedrun-kit:schema:result.v2"
    assert run(["bundle", "schema", "--list"]) == 0
    assert "result.v1" in capsys.readouterr().out.split()
    assert run(["bundle", "schema", "none.v9"]) == 2


def test_keys_from_generating_to_listing(home, signer, capsys):
    assert run(["keys", "list"]) == 0
    assert "speedrun keys generate" in capsys.readouterr().err
    assert run(["keys", "show"]) == 3
    capsys.readouterr()
    assert run(["keys", "generate"]) == 0
    key_id = capsys.readouterr().out.strip()
    assert run(["keys", "generate"]) == 0
    shown = capsys.readouterr()
    assert shown.out.strip() == key_id
    assert shown.err.startswith("key exists: ")
    assert run(["keys", "show"]) == 0
    assert capsys.readouterr().out.startswith("-----BEGIN PUBLIC KEY-----\n")
    assert run(["keys", "trust", signer]) == 0
    capsys.readouterr()
    assert run(["keys", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["keys"]
    assert [(k["own"], k["key_id"] == key_id) for k in listed] == [(True, True), (False, False)]


def test_the_key_folder_is_the_users_configuration(home):
    assert run(["keys", "generate"]) == 0
    assert (home / "config" / "speedrun-kit" / "keys" / "own.key").is_file()
