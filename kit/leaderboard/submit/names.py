"""
Names of agents and models: what a name may look like, and which names look alike. Compares no results.

A board tells rows apart by these names, so a name must be readable, spelled in one way, and not drawn like
another one. Lookalikes are found by a skeleton: two names that look alike have the same one. See Unicode
UTS #39; the table here holds what one script borrows from another, not every resemblance.
"""

from __future__ import annotations

import re
import unicodedata

from kit.core.text import is_printable, one_line

MAX_NAME = 100
"""Characters, as schema submission.v1 has it."""
_DAILY = """
    ARABIC ARMENIAN BENGALI BOPOMOFO CJK CYRILLIC DEVANAGARI ETHIOPIC GEORGIAN GREEK GUJARATI GURMUKHI HANGUL
    HEBREW HIRAGANA KANNADA KATAKANA KHMER LAO LATIN MALAYALAM MYANMAR ORIYA SINHALA TAMIL TELUGU THAANA THAI
    TIBETAN
"""
ONE_SCRIPT = frozenset(_DAILY.split())
"""Scripts in daily use, see UAX #31; rare ones hold whole alphabets that are drawn like Latin's."""
WITH_LATIN = frozenset({"LATIN", "CJK", "BOPOMOFO", "HIRAGANA", "KATAKANA", "HANGUL"})
"""Scripts that people write together, and that do not look like each other."""
_ALIASES = {"KATAKANA-HIRAGANA": "KATAKANA", "IDEOGRAPHIC": "CJK"}

_ALIKE = {
    # Cyrillic
    **{"а": "a", "в": "b", "г": "r", "е": "e", "ё": "e", "з": "3", "і": "l", "ї": "l", "ј": "j", "к": "k"},
    **{"м": "m", "н": "h", "о": "o", "п": "n", "р": "p", "с": "c", "т": "t", "у": "y", "ф": "o", "х": "x"},
    **{"ѕ": "s", "һ": "h", "ь": "b", "ѵ": "v", "ԁ": "d", "ԛ": "q", "ԝ": "w", "ґ": "r", "є": "e", "ү": "y"},
    **{"ҳ": "x", "ӏ": "l", "и": "u", "й": "u", "л": "n", "я": "r", "ѡ": "w", "ц": "u", "ч": "4", "ԍ": "g"},
    # Greek
    **{"α": "a", "β": "b", "γ": "y", "ε": "e", "ζ": "z", "η": "n", "ι": "l", "κ": "k", "μ": "u", "ν": "v"},
    **{"ο": "o", "π": "n", "ρ": "p", "σ": "o", "ς": "c", "τ": "t", "υ": "u", "χ": "x", "ω": "w", "ϲ": "c"},
    **{"ϳ": "j", "ϱ": "p", "ϵ": "e", "φ": "o", "δ": "d", "λ": "l"},
    # Armenian and Hebrew
    **{"օ": "o", "ո": "n", "ս": "u", "հ": "h", "ց": "g", "զ": "q", "յ": "j", "տ": "s", "լ": "l", "ք": "p"},
    **{"ס": "o", "ו": "l", "ן": "l", "י": "'"},
    # Latin
    **{
        "ĸ": "k",
        "ꟾ": "l",
        "ꟷ": "-",
        "ǃ": "l",
        "ǁ": "ll",
        "ɜ": "3",
        "ʒ": "3",
        "ȝ": "3",
        "ƽ": "5",
        "ƨ": "2",
        "ƿ": "p",
        "ɵ": "o",
    },
    **{"ı": "l", "ɩ": "l", "ǀ": "l", "ł": "l", "ƚ": "l", "ɑ": "a", "ɡ": "g", "ø": "o", "đ": "d", "ħ": "h"},
    **{"ŧ": "t", "ß": "b", "ꞵ": "b", "ƅ": "b", "ʋ": "v", "ʏ": "y", "ᴏ": "o", "ᴄ": "c", "ᴠ": "v", "ᴡ": "w"},
    **{"ᴢ": "z", "ꜱ": "s", "ʟ": "l", "ɪ": "l", "ɴ": "n", "ʀ": "r", "ʙ": "b", "ɢ": "g", "ʜ": "h", "ᴛ": "t"},
    **{"ᴀ": "a", "ᴅ": "d", "ᴇ": "e", "ᴊ": "j", "ᴋ": "k", "ᴍ": "m", "ᴘ": "p", "ᴜ": "u", "ꞌ": "'", "ɣ": "y"},
    # Chinese, Japanese and Korean, which may stand beside Latin and each other
    **{
        "ニ": "二",
        "ハ": "八",
        "カ": "力",
        "ロ": "口",
        "囗": "口",
        "ト": "卜",
        "エ": "工",
        "タ": "夕",
        "チ": "千",
    },
    **{
        "ミ": "三",
        "ム": "厶",
        "ヌ": "又",
        "オ": "才",
        "セ": "七",
        "ヒ": "匕",
        "ヘ": "へ",
        "リ": "り",
        "イ": "亻",
    },
    **{
        "ㄙ": "厶",
        "ㄇ": "冂",
        "ㄏ": "厂",
        "ㄖ": "日",
        "ㄕ": "尸",
        "ㄈ": "匚",
        "ㄦ": "儿",
        "ル": "儿",
        "ㄩ": "凵",
    },
    **{"ㄠ": "幺", "ㄗ": "卩", "ㄐ": "丩", "ㄅ": "勹", "ㄤ": "尢", "\u1106": "口", "\u1161": "卜"},
    **{"一": "-", "ー": "-", "ㄧ": "-", "\u1173": "-", "丨": "l", "\u1175": "l", "〇": "o", "\u110b": "o"},
    **{
        "\u11bc": "o",
        "メ": "x",
        "乂": "x",
        "ㄨ": "x",
        "丫": "y",
        "ㄚ": "y",
        "ㄒ": "t",
        "丅": "t",
        "\u116e": "t",
    },
    **{"ノ": "/", "丿": "/", "丶": "'", "ヽ": "'"},
    # digits and signs
    **{"0": "o", "1": "l", "i": "l", "|": "l", "!": "l", "_": "-", "`": "'", '"': "'", ",": ".", ";": ":"},
}
_VARIANT = re.compile(
    "LATIN (?:SMALL LETTER|SMALL CAPITAL LETTER|LETTER SMALL CAPITAL) (?:DOTLESS |BARRED )?([A-Z])"
    "(?: WITH .*| BAR)?"
)
"""Unicode's name of a letter of Latin with a hook, a stroke or a tail, or of a small one of capital form."""
_CAPITALS = str.maketrans("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧАВЕКМНОРСТУХЅІЈԌԚԜҮՕՍՏԼ", "ABEZHIKMNOPTYXABEKMHOPCTYXSIJGQWYOUSL")
"""Capitals that are drawn like another letter than their small ones are."""
_PAIRS = (("rn", "m"), ("cl", "d"), ("vv", "w"), ("''", "'"))


def name_fault(name: str) -> str:
    """Return why a text is no name of an agent or a model; empty if it is one."""
    if not name:
        return "it is empty"
    if not is_printable(name):
        return f"it holds a character that is not shown as it is: {one_line(name, MAX_NAME)}"
    if len(name) > MAX_NAME:
        return f"it has {len(name)} characters, more than {MAX_NAME}"
    if unicodedata.normalize("NFC", name) != name:
        return f"it is not in Unicode's NFC form, which is {unicodedata.normalize('NFC', name)!a}"
    if name != " ".join(name.split()):
        return "it has a blank at an end, or two in a row"
    if name.casefold() == "no hints" or name.casefold().startswith("hints "):
        return "it reads as a level of hints"
    return _script_fault(name)


def _script_fault(name: str) -> str:
    scripts = set()
    for character in unicodedata.normalize("NFKC", name):
        kind = unicodedata.category(character)
        if kind in ("Mn", "Me", "Mc") or character == " ":
            continue
        if kind[0] in "PS" or (character.isascii() and not character.isalpha()):
            if not character.isascii():
                return f"it holds the sign {character!a}: use those of ASCII"
            continue
        script = unicodedata.name(character, "UNNAMED").split()[0]
        scripts.add(_ALIASES.get(script, script))
    if unknown := sorted(scripts - ONE_SCRIPT):
        return f"it holds letters or digits of an unusual script: {', '.join(unknown).lower()}"
    if len(scripts) > 1 and not scripts <= WITH_LATIN:
        return f"it mixes scripts: {', '.join(sorted(scripts)).lower()}"
    return ""


def skeletons(name: str) -> tuple[str, str]:
    """
    Return what a name looks like, in small letters and as it is drawn.

    Two names look alike if they share one of the two; so do some others.
    """
    return _skeleton(name), _skeleton(unicodedata.normalize("NFKD", name).translate(_CAPITALS))


def _skeleton(name: str) -> str:
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold()).casefold()
    plain = (c for c in folded if not unicodedata.category(c).startswith("M"))
    digits = (str(unicodedata.digit(c)) if unicodedata.category(c) == "Nd" else c for c in plain)
    letters = "".join(_ALIKE.get(c) or _base(c) for c in digits)
    for pair, one in _PAIRS:
        letters = letters.replace(pair, one)
    return re.sub(r"[ -]+", "-", letters).strip("-.:'") or letters


def _base(character: str) -> str:
    """Return the letter that a small one of Latin is drawn upon, or the character itself."""
    variant = None if character.isascii() else _VARIANT.fullmatch(unicodedata.name(character, ""))
    return variant[1].lower() if variant else character
