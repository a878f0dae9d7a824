"""The smoke language: the same bytes for ever, exact probabilities, a floor derived by another hand too."""

from __future__ import annotations

import hashlib
import itertools
import math
import shutil
import subprocess
import sys
from array import array
from collections import Counter
from pathlib import Path

import pytest

from kit.cli import run
from kit.core.digest import sha256_bytes
from kit.core.errors import DigestMismatch, SchemaError, UsageError
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.data import synth
from kit.data.markov import TOTAL, Language, LanguageSpec, apportion
from kit.data.shard import BOS, read_header, read_tokens
from kit.data.synth import SmokeSpec, derive, ensure_smoke, load_smoke

SMALL = LanguageSpec("a-test", words=20, kinds=5, families=3, bos_weight=64)


@pytest.fixture(scope="module")
def spec() -> SmokeSpec:
    return load_smoke(facts_root() / "records")


@pytest.fixture(scope="module")
def language(spec: SmokeSpec) -> Language:
    return Language(spec.language)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, spec: SmokeSpec) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    ensure_smoke(spec, store)
    return store


@pytest.fixture(scope="module")
def folder(store: Store, spec: SmokeSpec) -> Path:
    return ensure_smoke(spec, store).folder


# ------------------------------------------------------------------------------------------ the language


def test_a_small_language_is_pinned_to_the_byte() -> None:
    language = Language(SMALL)
    table = repr(language.weights).encode() + language.kind + language.family
    stream = language.sample("x", 5000)
    assert sha256_bytes(table) == "4546d5aab0a818615ac649f945d5409e86da8d84b9adae657a47b0a5bd9cef64"
    packed = b"".join(t.to_bytes(2, "little") for t in stream)
    assert sha256_bytes(packed) == "e81f729abb6b67741b77bd4a246a80447ac9f2666ffa9117d4bc0503da5df2d3"


def test_every_context_gives_probabilities_that_sum_to_exactly_one(language: Language) -> None:
    assert {sum(row) for row in language.weights} == {TOTAL}
    assert min(min(row[:-1]) for row in language.weights) >= 1, "every word can follow every word"


def test_no_document_is_empty_and_each_ends_in_time(language: Language) -> None:
    opening = language.weights[language.context(0, language.bos)]
    assert opening[language.bos] == 0
    others = [row for row in language.weights if row is not opening]
    assert {row[language.bos] for row in others} == {language.spec.bos_weight}


def test_the_token_before_bos_does_not_change_the_context(language: Language) -> None:
    assert len({language.context(before, language.bos) for before in range(language.bos + 1)}) == 1


def test_the_context_depends_on_the_token_before_the_last(language: Language) -> None:
    rows = {language.weights[language.context(before, 0)] for before in range(language.spec.words)}
    assert len(rows) == language.spec.families


def test_streams_differ_by_label_and_seed_and_open_with_bos() -> None:
    one, same, other = Language(SMALL), Language(SMALL), Language(LanguageSpec("b", 20, 5, 3, 64))
    assert one.sample("x", 400) == same.sample("x", 400)
    assert one.sample("x", 400) == one.sample("x", 900)[:400]
    assert one.sample("x", 400) != one.sample("y", 400)
    assert one.weights != other.weights
    assert one.sample("x", 1).tolist() == [BOS]


@pytest.mark.parametrize(
    "bad",
    [
        LanguageSpec("s", words=256),
        LanguageSpec("s", words=10, kinds=11),
        LanguageSpec("s", kinds=4, families=5),
        LanguageSpec("s", families=0),
        LanguageSpec("s", bos_weight=0),
        LanguageSpec("s", bos_weight=4000),
    ],
)
def test_a_language_that_cannot_be_is_refused(bad: LanguageSpec) -> None:
    with pytest.raises(UsageError):
        Language(bad)


@pytest.mark.parametrize(
    ("weights", "total", "shares"),
    [([1, 1, 1], 4, [2, 1, 1]), ([1, 3], 10, [3, 7]), ([0, 5], 9, [1, 8]), ([2, 3, 5], 103, [21, 31, 51])],
)
def test_shares_are_whole_and_in_proportion(weights: list[int], total: int, shares: list[int]) -> None:
    assert apportion(weights, total) == shares
    assert sum(shares) == total


def test_draws_follow_the_weights() -> None:
    language = Language(SMALL)
    tokens = language.sample("frequency", 300_000)
    symbols = [language.bos if t == BOS else t for t in tokens]
    found: dict[int, Counter[int]] = {}
    for before, last, symbol in zip(symbols, symbols[1:], symbols[2:], strict=False):
        found.setdefault(language.context(before, last), Counter())[symbol] += 1
    for context, seen in found.items():
        n = seen.total()
        if n < 1000:
            continue
        expected = [n * w / TOTAL for w in language.weights[context]]
        chi2 = sum((seen[s] - e) ** 2 / e for s, e in enumerate(expected) if e)
        freedom = sum(e > 0 for e in expected) - 1
        assert chi2 < freedom + 5 * math.sqrt(2 * freedom), f"context {context}"


# ------------------------------------------------------------------------------------------- the figures


def slow_mean_nats(language: Language, tokens: array[int], count: int) -> float:
    """Follow the definition token by token, with floats and no counting: another hand's derivation."""
    total = []
    for i in range(1, count + 1):
        last, token = tokens[i - 1], tokens[i]
        place = next(k for k in range(i - 1, -1, -1) if tokens[k] == BOS)
        if last == BOS:
            row = language.weights[language.spec.kinds * (language.spec.families + 1)]
        else:
            family = (
                language.spec.families
                if place == i - 2
                else language.kind[tokens[i - 2]] % language.spec.families
            )
            row = language.weights[language.kind[last] * (language.spec.families + 1) + family]
        total.append(-math.log(row[-1 if token == BOS else token] / sum(row)))
    return math.fsum(total) / count


def test_the_pinned_floor_is_what_an_independent_derivation_gives(
    spec: SmokeSpec, language: Language, folder: Path
) -> None:
    tokens = read_tokens(folder / spec.val.file.name)
    assert slow_mean_nats(language, tokens, spec.val_tokens) == pytest.approx(spec.floor, abs=6e-7)


def test_all_pins_are_what_the_language_gives(spec: SmokeSpec, tmp_path: Path) -> None:
    assert derive(spec, tmp_path).differences(spec) == ()


def test_the_entropy_rate_is_what_long_streams_tend_to(spec: SmokeSpec, language: Language) -> None:
    rate, count, streams = language.entropy_rate(), 50_000, 8
    means = [
        float(language.mean_nats(language.sample(f"long/{i}", count + 1), count)) for i in range(streams)
    ]
    mean = sum(means) / streams
    error = math.sqrt(sum((m - mean) ** 2 for m in means) / (streams - 1) / streams)
    assert abs(mean - rate) < 5 * error
    assert error < 0.01
    assert abs(spec.floor - rate) < 5 * error * math.sqrt(streams * count / spec.val_tokens)


def test_a_rotated_window_has_a_floor_of_its_own(language: Language, spec: SmokeSpec, folder: Path) -> None:
    tokens = read_tokens(folder / spec.val.file.name)
    whole = float(language.mean_nats(tokens, 2000))
    parts = [float(language.mean_nats(tokens, 1000, start)) for start in (0, 1000)]
    assert sum(parts) / 2 == pytest.approx(whole, abs=1e-12)


def test_models_of_a_lower_order_stay_well_above_the_target(spec: SmokeSpec, folder: Path) -> None:
    """Counted on the validation window itself, which no honest model may do, they still do not reach it."""
    window = read_tokens(folder / spec.val.file.name, 0, spec.val_tokens + 1).tolist()

    def entropy(counts: Counter[object]) -> float:
        total = counts.total()
        return -sum(n / total * math.log(n / total) for n in counts.values())

    unigram = entropy(Counter(window[1:]))
    bigram = entropy(Counter(itertools.pairwise(window))) - entropy(Counter(window[:-1]))
    assert unigram > spec.target + 1
    assert bigram > spec.target + 0.1


def test_scoring_refuses_streams_that_are_not_of_the_language() -> None:
    language = Language(SMALL)
    stream = language.sample("x", 50)
    with pytest.raises(UsageError, match="not a word"):
        language.mean_nats(array("H", [BOS, 3, 21, 4]), 3)
    with pytest.raises(UsageError, match="begin with BOS"):
        language.mean_nats(stream[1:], 5)
    with pytest.raises(UsageError, match="probability 0"):
        language.mean_nats(array("H", [BOS, BOS, 3]), 2)
    for count, start in ((50, 0), (0, 0), (5, 45), (5, -1)):
        with pytest.raises(UsageError, match="does not fit into"):
            language.mean_nats(stream, count, start)


# ------------------------------------------------------------------------------------------ the data set


def test_the_second_call_makes_nothing_and_gives_the_same(
    spec: SmokeSpec, store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synth, "_make", lambda *_: pytest.fail("made again"))
    assert ensure_smoke(spec, store).folder == folder


def test_every_shard_is_well_formed_and_readable_by_any_uid(spec: SmokeSpec, folder: Path) -> None:
    assert folder.stat().st_mode & 0o055 == 0o055
    assert sorted(p.name for p in folder.iterdir()) == [pin.file.name for pin in spec.shards]
    for pin in spec.shards:
        path = folder / pin.file.name
        assert read_header(path).tokens == pin.tokens
        assert path.stat().st_mode & 0o777 == 0o444
        assert hashlib.sha256(path.read_bytes()).hexdigest() == pin.file.sha256
        assert read_tokens(path, 0, 1)[0] == BOS


def test_two_processes_at_once_get_the_same_whole_data(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "kit.cli", "data", "synth", "--store", str(tmp_path)]
    both = [
        subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [p.communicate(timeout=600)[0] for p in both]
    assert [p.returncode for p in both] == [0, 0]
    assert said[0] == said[1]
    assert [p.name for p in (tmp_path / "smoke").iterdir()] == [Path(said[0].strip()).name]


@pytest.mark.parametrize("fault", ["changed", "gone"])
def test_data_that_was_changed_is_refused(spec: SmokeSpec, folder: Path, tmp_path: Path, fault: str) -> None:
    shutil.copytree(folder, tmp_path / "smoke" / folder.name)
    victim = tmp_path / "smoke" / folder.name / spec.val.file.name
    data = bytearray(victim.read_bytes())
    victim.unlink()
    if fault == "changed":
        data[2000] ^= 1
        victim.write_bytes(data)
    with pytest.raises(DigestMismatch, match=spec.val.file.name) as caught:
        ensure_smoke(spec, Store(tmp_path))
    assert "rm -r" in caught.value.hint


def changed_toml(tmp_path: Path, old: str, new: str) -> Path:
    text = (facts_root() / "records" / "smoke.toml").read_text()
    assert text.count(old) == 1
    (tmp_path / "smoke.toml").write_text(text.replace(old, new))
    return tmp_path


def test_a_pin_that_the_language_does_not_give_leaves_nothing_in_the_store(
    spec: SmokeSpec, tmp_path: Path
) -> None:
    records = changed_toml(tmp_path, spec.val.file.sha256, "0" * 64)
    with pytest.raises(DigestMismatch, match="expected 0000"):
        ensure_smoke(load_smoke(records), Store(tmp_path / "store"))
    assert list((tmp_path / "store" / "smoke").iterdir()) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('schema = "smoke.v1"', 'schema = "smoke.v2"', "schema"),
        ("target = 3.57 ", "target = 3.4 ", "must be above the floor"),
        ("val_tokens = 65_536", "val_tokens = 655_361", "do not fit into"),
        ("world_size = 2", "world_size = 2\ncolour = 1", "colour"),
        ("fineweb_val_000000.bin", "../val.bin", "name"),
    ],
)
def test_a_faulty_smoke_toml_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        load_smoke(changed_toml(tmp_path, old, new))


def test_the_command_derives_the_pins_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "synth", "--derive", "--store", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "3.416161" in said.out
    assert "smoke.toml matches" in said.err
