"""Text that reads otherwise than it runs is refused, wherever in an added line it stands."""

from __future__ import annotations

import pytest

from kit.audit import source
from kit.audit.finding import Outcome
from kit.audit.source import SourceFile

START = "x = 1  # caf\u00e9, \u00b5s\u00a0(old)\n"
HIDDEN = {
    "zero width space": "y = 1  # a\u200bb\n",
    "zero width joiner in a name": "a\u200db = 1\n",
    "right-to-left override": "y = 'a\u202eb'\n",
    "isolate": '"""\u2066doc\u2069"""\n',
    "soft hyphen": "# a\u00adb\n",
    "byte order mark inside": "# \ufeff\n",
    "no-break space": "y = 'a\u00a0b'\n",
    "ideographic space": "# a\u3000b\n",
    "line separator": "# a\u2028import os\n",
    "next line": "# a\u0085b\n",
    "lone carriage return": "# a\rimport math\n",
    "escape sequence": "# \x1b[8m\n",
    "backspace": "# a\x08b\n",
    "vertical tab": "# a\x0bb\n",
    "hangul filler": "\u3164 = 1\n",
    "halfwidth filler": "# \uffa0\n",
    "braille blank": "# a\u2800b\n",
    "combining grapheme joiner": "# a\u034fb\n",
    "variation selector": "y = 'a\ufe0f'\n",
    "another variation selector": "y = 'a\U000e0101'\n",
    "tag": "# \U000e0041\n",
    "private use": "# \ue000\n",
    "noncharacter": "# \uffff\n",
    "fullwidth name": "\uff45\uff58\uff45\uff43 = 1\n",
    "mathematical name": "x.\U0001d41a = 1\n",
    "ligature": "\ufb01t = 1\n",
    "cyrillic letter": "l\u043ess = 1\n",
    "cherokee letter": "def \u13a0(): pass\n",
}
PLAIN = {
    "greek names": "\u03b2 = \u03bc = 1\n",
    "accents": "caf\u00e9 = 'na\u00efve'\n",
    "symbols in comments": "# x\u00b2 \u2264 \u03c3, \u00b5 \u2192 \u221e \u2014 \U0001f680\n",
    "another alphabet in a text": "print('\u043f\u0440\u0438\u0432\u0435\u0442 \u4e2d\u6587')\n",
    "tabs and form feeds": "if x:\n\ty = 1\n\x0c\nz = 1\n",
    "windows line ends": "y = 1\r\nz = 2\r\n",
    "escapes that are written out": "y = '\\u202e'\n",
}


def failed(text: str, name: str = "more.py", start: str = START) -> bool:
    findings = source.judge(
        (SourceFile("train_gpt2.py", start.encode()), SourceFile(name, text.encode())),
        (SourceFile("train_gpt2.py", START.encode()),),
    )
    return next(f.outcome for f in findings if f.id == "source.characters") is Outcome.FAILED


@pytest.mark.parametrize("text", HIDDEN.values(), ids=HIDDEN)
def test_a_character_that_deceives_is_refused(text: str) -> None:
    assert failed(text)


@pytest.mark.parametrize("text", PLAIN.values(), ids=PLAIN)
def test_plain_text_in_any_language_passes(text: str) -> None:
    assert not failed(text)


def test_a_line_of_the_start_script_may_stay_and_move_but_not_change() -> None:
    assert not failed("z = 1\n") and not failed("z = 1\n", start=f"y = 2\n{START}")
    assert failed("z = 1\n", start=START.replace("old", "new"))


def test_files_that_are_no_scripts_are_looked_at_as_well() -> None:
    assert failed("# \u200b\nargs = []\n", name="run.toml")


def test_what_is_odd_is_shown_in_plain_letters() -> None:
    findings = source.judge((SourceFile("a.py", b"# a\xe2\x80\xaeb\n"),), ())
    detail = next(f.detail for f in findings if f.id == "source.characters")
    assert detail.isascii() and "U+202E RIGHT-TO-LEFT OVERRIDE" in detail and "a.py:1" in detail
