"""What is shown of text from elsewhere: one printable line, and nothing that reorders, hides or stacks."""

import json
import sys
from pathlib import Path

import pytest

from kit.core.text import (
    MAX_MARKS,
    REPLACEMENT,
    counted,
    escape_json,
    is_printable,
    named_once,
    one_line,
    printable,
)

HIDDEN = {
    "line feed": "\n", "carriage return": "\r", "tab": "\t", "escape": "\x1b", "delete": "\x7f",
    "C1": "\x9b", "next line": "\x85", "soft hyphen": "\xad", "no-break space": "\xa0",
    "right-to-left override": "\u202e", "isolate": "\u2066", "zero width space": "\u200b",
    "joiner": "\u200d", "byte order mark": "\ufeff", "line separator": "\u2028",
    "paragraph separator": "\u2029", "ideographic space": "\u3000", "thin space": "\u2009",
    "variation selector": "\ufe0f", "variation selector 256": "\U000e01ef", "tag": "\U000e0041",
    "grapheme joiner": "\u034f", "Hangul filler": "\u3164", "half Hangul filler": "\uffa0",
    "blank Braille": "\u2800", "Mongolian selector": "\u180b", "private use": "\ue000",
    "unassigned": "\U000effff", "surrogate": "\udc9b", "annotation": "\ufff9",
}  # fmt: skip


@pytest.mark.parametrize("what", HIDDEN)
def test_a_hidden_character_is_replaced(what):
    assert printable(f"a{HIDDEN[what]}b") == f"a{REPLACEMENT}b"
    assert one_line(f"a{HIDDEN[what]}b") == f"a{REPLACEMENT}b"
    assert not is_printable(HIDDEN[what])


@pytest.mark.parametrize("text", ["", "plain", "Grüße · 日本 한국 עברית ไทย ñ é क्षि", "a  b", "🙂"])
def test_ordinary_text_is_unchanged(text):
    assert printable(text) == text and escape_json(text) == text


def test_marks_are_shown_on_a_letter_and_only_a_few_of_them():
    flood = "e" + "\u0301" * 40 + "f"
    assert printable(flood) == "e" + "\u0301" * MAX_MARKS + REPLACEMENT * (40 - MAX_MARKS) + "f"
    assert printable("\u0338ok") == f"{REPLACEMENT}ok", "nothing strikes through what stands before"
    assert printable("trusted: \u0338ok") == f"trusted: {REPLACEMENT}ok"


def test_no_character_at_all_breaks_a_line_or_steers():
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    shown = printable(every)
    assert len(shown.splitlines()) == 1 and shown.isprintable()


def test_a_value_is_cut_and_does_not_fill_the_line_with_blanks():
    assert one_line("x" + " " * 5000 + "RANKED") == "x…"
    assert one_line("a" + " " * 70 + "RANKED") == "a RANKED"
    assert one_line("  a  ") == "a"
    assert len(one_line("y" * 10_000_000, 50)) == 50 and one_line("y" * 50, 50) == "y" * 50


@pytest.mark.parametrize("what", HIDDEN)
def test_json_says_the_same_with_nothing_hidden_in_it(what):
    value = {f"k{HIDDEN[what]}": [f"v{HIDDEN[what]}\u0301\u0301\u0301\u0301\u0301\u0301"]}
    text = escape_json(json.dumps(value, indent=2, ensure_ascii=False))
    assert json.loads(text) == value
    assert all(is_printable(line) for line in text.split("\n"))


def test_a_number_stands_with_the_right_form_of_its_noun():
    assert [counted(n, "run") for n in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
    assert (
        counted(1, "entry", "entries") == "1 entry" and counted(1200, "entry", "entries") == "1,200 entries"
    )


@pytest.mark.parametrize(
    ("path", "message", "named"),
    [
        ("x.json", "step 0: x.json: not valid JSON", "step 0: x.json: not valid JSON"),
        ("a/x.json", "step 0: x.json: not valid JSON", "step 0: a/x.json: not valid JSON"),
        ("a/x.json", "cannot read a/x.json: denied", "cannot read a/x.json: denied"),
        ("a", "bundle not found: a/result.json", "bundle not found: a/result.json"),
        ("a", "step 6: checksum mismatch: guest.log", "a: step 6: checksum mismatch: guest.log"),
        ("x", "x.json is not a bundle", "x: x.json is not a bundle"),
        ("log", "step 7: guest.log: invalid stamp", "log: step 7: guest.log: invalid stamp"),
        (".", "step 1: no envelope: empty", ".: step 1: no envelope: empty"),
    ],
)
def test_a_message_names_its_path_once(path, message, named):
    assert named_once(Path(path), message) == named
