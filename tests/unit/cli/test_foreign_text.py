"""
No command prints a foreign character that breaks a line, controls the terminal or is invisible.

A stranger's bundle has a hostile text in every string that its schema lets be one, keys of objects included.
"""

from __future__ import annotations

import ast
import base64
import copy
import json
import shutil
from pathlib import Path

import pytest

from kit.cli import run
from kit.core.digest import canonical_json
from kit.core.errors import IntegrityError
from kit.core.schema import validate
from kit.core.text import is_printable
from kit.leaderboard.submit.entry import BoardEntry
from kit.result.keys import seal
from kit.result.statement import PREDICATE_TYPE, SCHEMAS, parse, statement

ROOT = Path(__file__).resolve().parents[3]
PLANTED = "PLANTED"
HOSTILE = f"x\n{PLANTED}\r{PLANTED}\x1b[2J\x9b2J\u202e\u200b\u2028{PLANTED}\x85{PLANTED}\u0338\ufe0f"
MILD = HOSTILE.translate(dict.fromkeys(range(32)))
"""For patterns that leave control characters out."""


def strings_of(value, path=()):
    """Give the path of every string and of every key in a document."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, ("key", key))
            yield from strings_of(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from strings_of(inner, (*path, number))
    elif isinstance(value, str):
        yield path


def changed(document, path, text):
    """Return the document with another text at a path."""
    made = copy.deepcopy(document)
    there = made
    for step in path[:-1]:
        there = there[step]
    last = path[-1]
    if isinstance(last, tuple):
        there[text] = there.pop(last[1])
    else:
        there[last] = text
    return made


def poisoned(document):
    """Return the document with a hostile text wherever schema and derived values allow one, and how many."""
    count = 0
    for path in list(strings_of(document)):
        if path[:2] == ("predicate", "claims") or path[0] == "subject":
            continue
        for text in (HOSTILE, HOSTILE[:60], f"x{MILD}"):
            made = changed(document, path, text)
            try:
                validate(SCHEMAS[PREDICATE_TYPE], made, "it")
                parse(made)
            except IntegrityError:
                continue
            document, count = made, count + 1
            break
    return document, count


@pytest.fixture(scope="module")
def made(press, tmp_path_factory):
    """A stranger's run folder."""
    make = press.MAKE
    folder = press.press(tmp_path_factory.mktemp("stranger"), press.Sample(1), make.STRANGER)
    plain = json.loads(statement(*_parts(folder)))
    body = plain["predicate"]
    body["score"] |= {"ranked": False, "unranked_because": [HOSTILE[:200]] * 3}
    body["environment"]["runtime"]["not_enforced"] = ["memory"]
    body["observations"]["teardown"]["remains"] = ["a process"]
    body["run"]["env"] = {"HOME": "/", "LANG": "C"}
    body["hardware"]["probe"] = {"gpu0.copy_gbs": 1.0}
    document, count = poisoned(plain)
    assert count > 40, "the walk reaches the strings"
    document["predicate"]["inputs"]["submission"] = body["inputs"]["submission"]
    (folder / "result.json").write_bytes(seal(canonical_json(document), make.STRANGER))
    return folder


@pytest.fixture
def stranger(made, tmp_path, monkeypatch):
    """A copy of the stranger's run; nobody's key is trusted."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return shutil.copytree(made, tmp_path / "runs" / made.name)


def _parts(folder):
    envelope = json.loads((folder / "result.json").read_bytes())["dsseEnvelope"]
    found = parse(json.loads(base64.b64decode(envelope["payload"])))
    return found.predicate, found.subjects


def harmless(capsys):
    """Assert that nothing planted was shown, and return stdout."""
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert not any(line.lstrip(" ?").startswith(PLANTED) for line in text.splitlines()), text
        assert all(is_printable(line) for line in text.split("\n")), text
    return said.out


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize(
    "command",
    [
        ["bundle", "show"], ["bundle", "show", "--json"], ["bundle", "show", "--bundle-only"],
        ["bundle", "verify"], ["bundle", "verify", "--json"], ["score"], ["score", "--json"],
    ],
)  # fmt: skip
def test_a_bundle_of_an_untrusted_key_shows_nothing_planted(stranger, command, trust, capsys):
    if trust:
        assert run(["keys", "trust", str(stranger / "signer.pem"), "--name", "them"]) == 0
        capsys.readouterr()
    assert run([*command, str(stranger)]) in (0, 1)
    out = harmless(capsys)
    if "--json" in command and command[:2] == ["bundle", "show"]:
        assert json.loads(out)["predicate"]["task"]["target_source"] == HOSTILE[:300], "data stay data"


def test_trust_comes_before_anything_that_the_signer_wrote(stranger, capsys):
    assert run(["bundle", "show", str(stranger)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("  signed by ") and lines[0].endswith("(NOT TRUSTED)")
    assert lines[1].startswith("  tier          self-reported")
    assert lines[2].startswith("  verified      size and encoding, ") and "files next to" in lines[2]
    first_claim = next(i for i, line in enumerate(lines) if line.startswith("?"))
    assert first_claim > 3
    for name in ("target", "machine", "GPUs", "kit", "command", "image", "ended", "isolation", "audit"):
        assert any(line.startswith("? ") and line[2:].startswith(name) for line in lines), name


def test_without_the_files_what_they_prove_is_marked_too(stranger, capsys):
    assert run(["bundle", "show", str(stranger), "--bundle-only"]) == 0
    text = capsys.readouterr().out
    assert "? NOT CHECKED   the files beside the bundle" in text
    body = text.split("\n\n", 1)[1]
    assert all(line.startswith("?") for line in body.splitlines() if line)


@pytest.mark.parametrize("edit", ["predicate", "envelope", "schema", "unknown key"])
def test_the_message_of_a_refusal_shows_nothing_planted(stranger, press, edit, capsys):
    path = stranger / "result.json"
    document = json.loads(path.read_bytes())
    if edit == "envelope":
        document["dsseEnvelope"]["payloadType"] = HOSTILE
        path.write_bytes(canonical_json(document))
    else:
        payload = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
        if edit == "predicate":
            payload["predicateType"] = HOSTILE
        elif edit == "schema":
            payload["predicate"]["run"]["status"] = HOSTILE
        else:
            payload["predicate"][HOSTILE] = {HOSTILE: 1}
        path.write_bytes(seal(canonical_json(payload), press.MAKE.STRANGER))
    assert run(["bundle", "verify", str(stranger)]) == 4
    harmless(capsys)
    assert run(["bundle", "show", str(stranger)]) == 4
    harmless(capsys)


def test_a_board_with_hostile_bundles_entries_and_names_shows_nothing_planted(
    press, tmp_path, stranger, monkeypatch, capsys
):
    from kit.leaderboard.submit.entry import write_submission
    from kit.result.keys import Trusted
    from kit.result.verify import open_bundle

    root = tmp_path / "board"
    found = open_bundle(stranger, Trusted((press.MAKE.STRANGER.public,)))
    files = write_submission(found, BoardEntry("an-agent", "m", (), "fine"), root)
    place = (root / files[0]).parent
    entry = json.loads((place / "entry.json").read_bytes())
    mild = {"note": f"n{MILD}", "retracted": {"on": "2026-01-01", "reason": f"r{MILD}"}}
    (place / "entry.json").write_text(json.dumps(entry | mild))
    for number, odd in enumerate(
        ({"model": f"m{MILD}"}, {"agent": HOSTILE}, {HOSTILE: 1}, {"note": HOSTILE})
    ):
        copied = shutil.copytree(place, place.with_name(f"{place.name[:-1]}{number + 2}"))
        (copied / "entry.json").write_text(json.dumps(entry | odd))
    good = press.press(tmp_path / "runs", press.Sample(9), press.MAKE.STRANGER)
    files = write_submission(
        open_bundle(good, Trusted((press.MAKE.STRANGER.public,))), BoardEntry("good"), root
    )
    (root / files[0]).write_text(json.dumps(entry | mild | {"agent": "good"}))
    (root / "submissions" / "03" / f"agent{HOSTILE}").mkdir()
    (place / f"odd{HOSTILE}").write_bytes(b"")
    keys = tmp_path / "board-keys"
    keys.mkdir(mode=0o700)
    (keys / "them.pem").write_bytes(press.MAKE.STRANGER.public.pem)
    assert run(["submit", "check", str(root), "--keys", str(keys)]) == 4
    harmless(capsys)
    assert run(["submit", "check", str(root), "--keys", str(keys), "--json"]) == 4
    harmless(capsys)
    (place / f"odd{HOSTILE}").unlink()
    assert run(["report", str(root), "--keys", str(keys), "--out", str(tmp_path / "site")]) == 0
    harmless(capsys)
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert all(is_printable(line) for line in page.split("\n")) and ">retracted</b> on 2026-01-01: rx" in page


def test_names_of_files_and_keys_show_nothing_planted(press, tmp_path, capsys):
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    (keys / f"k{HOSTILE}.pem").write_bytes(press.MAKE.STRANGER.public.pem)
    for command in (["keys", "list"], ["keys", "list", "--json"]):
        assert run([*command, "--keys", str(keys)]) == 0
        harmless(capsys)
    odd = tmp_path / f"d{HOSTILE}"
    for command, code in (
        (["bundle", "verify", str(odd)], 3), (["bundle", "show", str(odd)], 3), (["unpack", str(odd)], 3),
        (["submit", "check", str(odd)], 3), (["report", str(odd)], 3), (["series", str(odd)], 3),
        (["score", "--table", str(odd)], 3), (["log", "parse", str(odd)], 3),
        (["keys", "trust", str(odd)], 3),
        (["eval", "--record", "3", "--submission", str(odd)], 2), (["image", "verify", HOSTILE], 2),
        (["keys", "revoke", HOSTILE, "--reason", "r"], 2), ([HOSTILE], 2), (["hint", "show", HOSTILE], 2),
    ):  # fmt: skip
        assert run([*command]) in (code, 2, 3, 4), command
        harmless(capsys)


def test_a_hostile_log_shows_nothing_planted(tmp_path, capsys):
    log = tmp_path / "log.txt"
    frame = b"=" * 100 + b"\n"
    gpu = b"|   0  NVIDIA \xe2\x80\xaeH100 \xc2\x9b2J          On  |\n"
    log.write_bytes(
        frame + b"import os\n" + frame + b"Running Python 3.12\xe2\x80\xae\nRunning PyTorch 2.\x1b[2J\n"
        + gpu + frame + b"step:0/20 val_loss:10.8258 train_time:0ms step_avg:nanms\n" + HOSTILE.encode()
    )  # fmt: skip
    for more in ([], ["--json"]):
        assert run(["log", "parse", str(log), *more]) == 0
        harmless(capsys)


@pytest.mark.parametrize("cell", ["a\u200b", "a\u202e", "a\nb", "\ufe0fa"])
def test_a_table_of_runs_with_a_hidden_character_is_refused(tmp_path, cell, capsys):
    table = tmp_path / "runs.csv"
    table.write_text(f'task,config,run,fsr\n3,"{cell}",1,0.5\n', encoding="utf-8")
    assert run(["score", "--table", str(table)]) == 4
    harmless(capsys)


def test_only_the_modules_of_the_terminal_write_to_it():
    terminal = {ROOT / "kit" / "cli" / name for name in ("terminal.py", "stderr.py", "live_line.py")}
    writers = ("echo", "secho", "echo_via_pager", "print", "pager")
    for path in sorted((ROOT / "kit").rglob("*.py")):
        if path.relative_to(ROOT).parts[:2] == ("kit", "guest") or path in terminal:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = (
                    node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                )
                assert name not in writers, f"{path}:{node.lineno}"
