"""`benchmarks/gpu/carry.py`: blobs as pieces that may arrive cut, changed, late and in any order."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from kit.core.digest import sha256_bytes
from kit.core.errors import DigestMismatch, PrerequisiteError, SchemaError, UsageError
from kit.core.store import FolderFetcher, Store
from kit.evaluate.describe import PlannedFile
from kit.gpu.preflight import Level, PreflightFinding
from kit.image.build import accept, ensure_layout
from kit.image.rootfs import ROOTS

ROOT = Path(__file__).resolve().parents[3]
FRAME, LIMIT = 4096, 6000


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "gpu"))


@dataclass(frozen=True)
class Packed:
    """Blobs of a store, as pieces in a directory."""

    store: Store
    folder: Path
    blobs: dict[str, bytes]
    listed: Any

    @property
    def names(self) -> list[str]:
        return [piece.name for piece in self.listed.pieces]


@pytest.fixture
def packed(tmp_path: Path) -> Packed:
    """Three blobs: of noise, of text, and a short one; more than four pieces."""
    from pieces import Blob, pack

    chance, store = random.Random(1), Store(tmp_path / "first")
    contents = [chance.randbytes(20_000), b"the same line\n" * 3000, b"short"]
    blobs = {store.put(data): data for data in contents}
    named = [Blob(f"blob {n}", len(data), sha256) for n, (sha256, data) in enumerate(blobs.items())]
    listed = pack(named, store, tmp_path / "pieces", [], limit=LIMIT, frame=FRAME)
    assert len(listed.pieces) > 4
    return Packed(store, tmp_path / "pieces", blobs, listed)


@pytest.fixture
def arrive(packed: Packed, tmp_path: Path) -> Callable[..., Path]:
    """Copy some pieces, and the list, into the directory of another machine."""

    def copy(*names: str) -> Path:
        folder = tmp_path / "arrived"
        folder.mkdir(exist_ok=True)
        for name in ("pieces.json", *names):
            (folder / name).write_bytes((packed.folder / name).read_bytes())
        return folder

    return copy


def holds(store: Store, packed: Packed) -> list[bool]:
    return [store.blob(s).is_file() and store.blob(s).read_bytes() == d for s, d in packed.blobs.items()]


def test_no_piece_is_larger_than_asked_for(packed: Packed) -> None:
    sizes = [(packed.folder / name).stat().st_size for name in packed.names]
    assert sizes == [piece.size for piece in packed.listed.pieces] and max(sizes) <= LIMIT


def test_pieces_are_unpacked_in_any_order_by_one_process_after_another(
    packed: Packed, arrive: Callable[..., Path], tmp_path: Path
) -> None:
    from pieces import Unpacker

    store, names = Store(tmp_path / "second"), packed.names
    random.Random(2).shuffle(names)
    for n, name in enumerate(names):
        folder = arrive(name)
        unpacker = Unpacker(folder, store, remove=True)
        assert unpacker.take() == 1
        assert not (folder / name).exists()
        assert unpacker.is_done == (n == len(names) - 1)
    assert holds(store, packed) == [True] * 3
    assert not (store.root / "carried").exists()


def test_a_blob_is_in_the_store_only_when_it_is_whole(
    packed: Packed, arrive: Callable[..., Path], tmp_path: Path
) -> None:
    from pieces import Unpacker

    store = Store(tmp_path / "second")
    Unpacker(arrive(packed.names[0]), store).take()
    assert holds(store, packed) == [False] * 3
    Unpacker(arrive(*packed.names), store).take()
    assert holds(store, packed) == [True] * 3


def test_missing_cut_and_damaged_pieces_are_named_until_they_are_whole(
    packed: Packed, arrive: Callable[..., Path], tmp_path: Path
) -> None:
    from carry import summary
    from pieces import State, Unpacker

    first, second, third, *others = packed.names
    folder = arrive(first, second, *others[1:])
    whole = (folder / first).read_bytes()
    (folder / first).write_bytes(whole[:1000])
    changed = bytearray((folder / second).read_bytes())
    changed[100] ^= 1
    (folder / second).write_bytes(changed)
    unpacker = Unpacker(folder, Store(tmp_path / "second"))
    assert unpacker.states()[second] is State.HERE
    unpacker.take()
    states = unpacker.states()
    assert [states[name] for name in (first, second, third)] == [State.CUT, State.DAMAGED, State.MISSING]
    said = summary(unpacker)
    assert f"{len(packed.names) - 4} of {len(packed.names)} pieces are unpacked" in said
    assert f"missing: {third} to {others[0]}" in said and f"damaged: {second}" in said
    assert f"cut: {first} (1,000 of {len(whole):,} bytes)" in said
    assert unpacker.take() == 0  # a damaged file that did not change is not read again
    arrive(first, second, third, others[0])
    assert unpacker.take() == 4 and unpacker.is_done


def test_pieces_of_blobs_that_the_store_has_are_not_needed(
    packed: Packed, arrive: Callable[..., Path], tmp_path: Path
) -> None:
    from pieces import State, Unpacker

    store = Store(tmp_path / "second")
    noise = next(iter(packed.blobs))
    store.put(packed.blobs[noise])
    needed = [p.name for p in packed.listed.pieces if any(frame.blob != 0 for frame in p.frames)]
    assert 0 < len(needed) < len(packed.names)
    unpacker = Unpacker(arrive(), store)
    assert [name for name, state in unpacker.states().items() if state is State.MISSING] == needed
    arrive(*needed)
    unpacker.take()
    assert holds(store, packed) == [True] * 3


def test_what_was_unpacked_of_a_blob_that_differs_is_forgotten(
    packed: Packed, arrive: Callable[..., Path], tmp_path: Path
) -> None:
    from pieces import Unpacker

    store, (*most, last) = Store(tmp_path / "second"), packed.names
    unpacker = Unpacker(arrive(*most), store)
    unpacker.take()
    for part in (store.root / "carried").glob("*/*"):
        if not part.name.endswith(".done"):
            part.write_bytes(b"x" + part.read_bytes()[1:])
    arrive(last)
    with pytest.raises(DigestMismatch, match="differs after unpacking") as refused:
        unpacker.take()
    assert refused.value.hint.startswith("copy these pieces again: p0")
    assert not all(holds(store, packed))
    arrive(*packed.names)
    Unpacker(tmp_path / "arrived", store).take()
    assert holds(store, packed) == [True] * 3


def test_a_blob_that_changed_in_the_store_is_not_packed(packed: Packed, tmp_path: Path) -> None:
    from pieces import pack

    path = packed.store.blob(next(iter(packed.blobs)))
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(DigestMismatch, match="was changed"):
        pack(packed.listed.blobs, packed.store, tmp_path / "other", [], limit=LIMIT, frame=FRAME)
    assert not (tmp_path / "other" / "pieces.json").exists()


def test_pieces_are_never_written_over_others(packed: Packed) -> None:
    from pieces import pack

    with pytest.raises(UsageError, match="has pieces already"):
        pack(packed.listed.blobs, packed.store, packed.folder, [], limit=LIMIT, frame=FRAME)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "../p001"),
        ("name", "p001"),
        ("frames", [{"blob": 0, "offset": 19_999, "size": 2, "stored": 1}]),
        ("frames", [{"blob": 3, "offset": 0, "size": 1, "stored": 1}]),
    ],
)
def test_a_list_that_cannot_be_of_a_pack_is_refused(packed: Packed, field: str, value: object) -> None:
    from pieces import Unpacker

    path = packed.folder / "pieces.json"
    listed = json.loads(path.read_bytes())
    listed["pieces"][0][field] = value
    path.write_text(json.dumps(listed))
    with pytest.raises(SchemaError):
        Unpacker(packed.folder, packed.store)


def test_without_the_list_it_says_what_to_copy_first(tmp_path: Path) -> None:
    from pieces import read_list

    with pytest.raises(PrerequisiteError) as refused:
        read_list(tmp_path)
    assert refused.value.hint == "copy pieces.json here first"


def test_each_codec_gives_the_bytes_back_and_refuses_others() -> None:
    from frames import Deflate, best_codec

    data = b"a line of text\n" * 1000 + random.Random(3).randbytes(1000)
    for codec in {c.name: c for c in (Deflate(), best_codec())}.values():
        frame = codec.compress(data)
        assert len(frame) < len(data) and codec.decompress(frame, len(data)) == data
        for size in (len(data) - 1, len(data) + 1):
            with pytest.raises(ValueError, match="not a frame"):
                codec.decompress(frame, size)
        with pytest.raises(ValueError, match="not a frame"):
            codec.decompress(b"\0" * 100, len(data))


def test_pieces_of_one_codec_name_another_one_as_unknown(packed: Packed) -> None:
    from pieces import Unpacker

    path = packed.folder / "pieces.json"
    path.write_text(path.read_text().replace(f'"codec":"{packed.listed.codec}"', '"codec":"lz5"'))
    with pytest.raises(SchemaError, match="unknown codec 'lz5'"):
        Unpacker(packed.folder, packed.store)


@pytest.fixture
def carry(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run `carry.py` with the tiny era."""
    import carry as module

    monkeypatch.setattr(module, "facts_root", lambda: tiny.images.parent)

    def run(*words: object) -> int:
        monkeypatch.setattr(sys, "argv", ["carry.py", *map(str, words)])
        return module.main()

    return run


def test_an_image_arrives_in_an_empty_store_ready_to_run(
    carry: Callable[..., int], tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, folder = Store(tmp_path / "one"), Store(tmp_path / "two"), tmp_path / "pieces"
    built = accept("tiny", tiny.images, first, (FolderFetcher(tiny.mirror),))
    assert carry("pack", first.root, folder, "tiny") == 0
    whole = (folder / "p000").read_bytes()
    (folder / "p000").write_bytes(whole[:-1])
    assert carry("unpack", folder, second.root) == 3
    assert "cut: p000" in capsys.readouterr().err
    (folder / "p000").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert carry("unpack", folder, second.root) == 4
    assert "damaged: p000" in capsys.readouterr().err
    (folder / "p000").write_bytes(whole)
    assert carry("unpack", folder, second.root, "--remove") == 0
    assert ensure_layout("tiny", tiny.images, second, ()).diff_ids == built.diff_ids
    assert (second.root / ROOTS / built.manifest_digest / "root" / "bin").exists()
    assert carry("unpack", folder, second.root) == 0  # again, without the pieces
    assert not (second.root / "carried").exists()


def test_an_era_that_is_there_already_is_left_out(
    carry: Callable[..., int], tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "one")
    accept("tiny", tiny.images, store, (FolderFetcher(tiny.mirror),))
    assert carry("pack", store.root, tmp_path / "pieces", "tiny", "--without", "tiny") == 0
    assert capsys.readouterr().out.startswith("0 files, 0 bytes, in 0 pieces")
    assert carry("unpack", tmp_path / "pieces", tmp_path / "two") == 3
    assert "files of tiny are neither in" in capsys.readouterr().err
    assert carry("unpack", tmp_path / "pieces", store.root) == 0


def test_an_image_that_is_not_built_is_named_with_the_command(
    carry: Callable[..., int], tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    accept("tiny", tiny.images, Store(tmp_path / "one"), (FolderFetcher(tiny.mirror),))
    assert carry("pack", tmp_path / "empty", tmp_path / "pieces", "tiny") == 3
    assert f"speedrun image build tiny --store {tmp_path / 'empty'}" in capsys.readouterr().err


def test_pieces_of_another_image_are_refused_before_they_are_unpacked(
    carry: Callable[..., int], tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, folder = Store(tmp_path / "one"), tmp_path / "pieces"
    built = accept("tiny", tiny.images, store, (FolderFetcher(tiny.mirror),))
    assert carry("pack", store.root, folder, "tiny") == 0
    path = folder / "pieces.json"
    listed = json.loads(path.read_text())
    listed["eras"][0]["manifest"] = sha256_bytes(b"another")
    path.write_text(json.dumps(listed))
    assert carry("unpack", folder, tmp_path / "two") == 4
    said = capsys.readouterr().err
    assert built.manifest_digest[:12] in said and "the same commit" in said


@pytest.mark.parametrize(
    ("numbers", "text"), [([3], "p003"), ([4, 3, 5, 9], "p003 to p005, p009"), ([999, 1000], "p999 to p1000")]
)
def test_names_of_neighbours_are_one_range(numbers: list[int], text: str) -> None:
    from carry import ranges

    assert ranges([f"p{n:03d}" for n in numbers]) == text


def test_check_names_what_a_plan_lacks_and_not_the_packages_of_its_image(
    carry: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import offline

    def plan(*shards: bool) -> dict[str, Any]:
        files = [PlannedFile("image", "torch.whl", 9, "ab", present=False)]
        files.append(PlannedFile("script", "a.txt", 9, "ab", present=all(shards)))
        files += [PlannedFile("shard", f"{n}.bin", 9, "ab", present) for n, present in enumerate(shards)]
        findings = [PreflightFinding("data", Level.WARNING, "unpinned")]
        findings += (
            [] if all(shards) else [PreflightFinding("shards", Level.REFUSAL, "1 is missing", "fetch")]
        )
        return {
            "artifacts": [asdict(f) for f in files],
            "findings": [asdict(f) for f in findings],
            "gpus": 2,
        }

    monkeypatch.setattr(offline, "_machine", lambda runtime: ())
    monkeypatch.setattr(offline, "_image", lambda era, store: offline.Item(f"image {era}", "", ""))
    monkeypatch.setattr(offline, "_plan", lambda *words: plan(True, False))
    assert carry("check", tmp_path, "--record", "62") == 3
    said = capsys.readouterr().out
    assert "| record 62: script | not in the store: a.txt | pack it: carry.py pack --record 62 |" in said
    assert "| record 62: shards | 1 is missing | python DIR/tools/gpu/shards.py DATA; speedrun data" in said
    assert "torch.whl" not in said and "unpinned" not in said and "2 of 3 items are missing" in said
    monkeypatch.setattr(offline, "_plan", lambda *words: plan(True, True))
    assert carry("check", tmp_path, "--record", "62") == 0
    assert "all 3 items are present" in capsys.readouterr().out
    monkeypatch.setattr(offline, "_plan", lambda *words: {"error": {"message": "no runc", "hint": "get it"}})
    assert carry("check", tmp_path, "--record", "62") == 3
    assert "| record 62 | no runc | get it |" in capsys.readouterr().out


def test_check_counts_the_files_that_pieces_still_have_to_bring(packed: Packed, tmp_path: Path) -> None:
    from offline import _pieces

    second = Store(tmp_path / "second")
    first, disk = _pieces(packed.folder, second)
    assert first.missing.startswith("3 of 3 files, ") and disk.missing == ""
    second.put(next(iter(packed.blobs.values())))
    assert next(iter(_pieces(packed.folder, second))).missing.startswith("2 of 3 files, ")
    assert next(iter(_pieces(packed.folder, packed.store))).missing == ""
    assert next(iter(_pieces(tmp_path, second))).fix == "copy pieces.json here first"
