"""What cannot be packed is said before a byte is written; a whole run of a tiny image is packed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kit.benchmark.records import load
from kit.capsule.pack import pack
from kit.cli import run as speedrun
from kit.core.digest import sha256_bytes
from kit.core.errors import DigestMismatch, PrerequisiteError, UsageError
from kit.core.facts import facts_root
from kit.core.store import FolderFetcher, Store
from kit.evaluate.request import Places
from kit.image.build import accept
from kit.result.keys import Trusted
from kit.result.predicate import CompileCache, Image, Manifest
from kit.values.software import Kit

ASSETS = Path(__file__).parents[2] / "assets" / "bundles"
RECORDS = facts_root() / "records"


@pytest.fixture
def packing(tmp_path, tiny, press):
    """Press a run in the tiny era's image, of this kit's record, and pack it; `changed` parts are other."""
    layout = accept("tiny", tiny.images, Store(tmp_path / "store"), [FolderFetcher(tiny.mirror)])
    image = Image(layout.config_digest, layout.manifest_digest)
    record = Manifest("records/03.toml", load(RECORDS, 3).manifest_sha256)
    plain = press.MAKE.predicate(ASSETS)

    def run(image=image, record=record, change=lambda made: None, trust=True, with_data=False, run=plain.run):
        environment = replace(plain.environment, era="tiny", image=image)
        inputs = replace(plain.inputs, record_manifest=record)
        parts = (("environment", environment), ("inputs", inputs), ("run", run))
        made = press.press(tmp_path / "runs", press.Sample(1, script=press.MAKE.SCRIPT, extra=parts))
        change(made)
        places = Places(
            RECORDS, tiny.images, Store(tmp_path / "store"), tmp_path / "out", tmp_path / "keys",
            fetchers=(), kit=Kit("0", None),
        )  # fmt: skip
        trusted = Trusted((press.MAKE.SIGNER.public,) if trust else ())
        return pack(made, tmp_path / "x.capsule.tar", trusted, places, with_data)

    yield run
    assert not list(tmp_path.glob(".*.partial"))


def test_a_whole_run_is_packed(packing, tmp_path):
    packed = packing()
    assert packed.file.stat().st_size == packed.size > 0 and packed.trusted and not packed.with_data


def test_a_run_with_a_warm_compile_cache_is_not_packed(packing, press):
    run = press.MAKE.predicate(ASSETS).run
    warm = replace(run, compile_cache=CompileCache.WARM, compile_cache_sha256=sha256_bytes(b""))
    with pytest.raises(UsageError, match="started with a warm compile cache"):
        packing(run=warm)


def test_a_file_that_is_there_is_not_replaced(packing, tmp_path):
    (tmp_path / "x.capsule.tar").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"x\.capsule\.tar already exists") as e:
        packing()
    assert (
        e.value.hint == "choose another path with --out"
        and (tmp_path / "x.capsule.tar").read_bytes() == b"mine"
    )


REFUSALS = {
    "a run on its machine's own files": (
        UsageError, "cannot pack run .*: it ran with --image host", "without --image host", {"image": None},
    ),
    "a run in another image": (
        DigestMismatch, f"the run's image is {'1' * 64}, but image tiny of this", "the version that ran it",
        {"image": Image("0" * 64, "1" * 64)},
    ),
    "a run of another version of the record": (
        DigestMismatch, r"records/03\.toml differs from the version of the run", "the version that ran it",
        {"record": Manifest("records/03.toml", "0" * 64)},
    ),
    "data that are not in the store": (
        PrerequisiteError, r"smoke_val_000000\.bin \(sha256 .*\) is not in the store",
        "speedrun data fetch --record 3", {"with_data": True},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "said", "hint", "parts"), REFUSALS.values(), ids=REFUSALS)
def test_what_is_not_packed_is_named_with_the_way_out(packing, tmp_path, kind, said, hint, parts):
    with pytest.raises(kind, match=said) as e:
        packing(**parts)
    assert type(e.value) is kind and hint in e.value.hint
    assert not (tmp_path / "x.capsule.tar").exists()


def test_a_trusted_run_is_packed_with_its_key_though_the_key_is_not_beside_it(packing):
    assert packing(change=lambda made: (made / "signer.pem").unlink()).trusted


def test_the_command_refuses_with_the_code_of_its_kind(press, tmp_path, capsys):
    environment = replace(press.MAKE.environment(), image=None)
    made = press.press(tmp_path / "runs", press.Sample(1, extra=(("environment", environment),)))
    places = [f"--store={tmp_path / 'store'}", f"--keys={tmp_path / 'keys'}"]
    assert speedrun(["pack", str(made), "--out", str(tmp_path / "x.tar"), *places]) == 2
    said = capsys.readouterr().err
    assert "it ran with --image host" in said and "run it again without --image host" in said
