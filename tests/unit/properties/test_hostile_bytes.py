"""Bytes from anywhere: logs, shards, archives, keys, sockets. Read or refused, in bounded memory."""

from __future__ import annotations

import contextlib
import gzip
import io
import lzma
import socket
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutation import DEEP, QUICK, mutated, reads_or_refuses
from seeds import capsule_of, deb_of, manifest_of, press, wheel_of

from kit.benchmark.submission import load_submission
from kit.capsule.content import open_capsule
from kit.capsule.unpack import unpack
from kit.core.digest import Sha256, sha256_bytes
from kit.core.errors import IntegrityError
from kit.core.store import no_progress
from kit.data.shard import HEADER_BYTES, pack_header, read_header, read_tokens
from kit.image import archive, oci
from kit.image.deb import read_deb
from kit.image.entry import chunks
from kit.image.layer import LayerFile
from kit.image.lock import Deb, Wheel
from kit.image.rootfs import unpack_layer
from kit.image.wheel import read_wheel
from kit.leaderboard.submit.entry import inflate
from kit.result import keys
from kit.sandbox.engine import frames
from kit.sandbox.runtime import lease
from kit.values import logfile
from kit.values.log import Grammar, read_run
from kit.values.logread import read_any, read_log
from kit.values.output import read_pieces

ASSETS = Path(__file__).resolve().parents[2] / "assets" / "bundles"
LOG = (ASSETS / "guest.log").read_bytes()
STAMPS = (ASSETS / "stamps").read_bytes()
UPSTREAM = b"".join(
    (
        b"=" * 100 + b"\nimport os\nprint('val_loss:0.1')\n",
        b"-" * 40 + b"\n# optim.py\n" + b"-" * 40 + b"\nx = 1\n",
        b"=" * 100 + b"\nRunning Python 3.12.7\nRunning PyTorch 2.6.0 compiled for CUDA 12.4\n",
        b"=" * 100 + b"\nstep:0/20 val_loss:10.8258 train_time:0ms step_avg:nanms\n",
        b"s:3 tel:4.5\nstep    3/20 | train loss 1.0 | x\n",
    )
)
SHARD = pack_header(7) + bytes(range(14))
EPOCH = 1_783_728_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bytes")


@contextlib.contextmanager
def within(megabytes: int):
    """Fail if the block makes more memory its own at a time."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < megabytes << 20, f"{peak >> 20} MiB"


# --- logs


@QUICK
@given(mutated(UPSTREAM))
def test_an_upstream_log(data):
    reads_or_refuses(logfile.split, data)
    for grammar in (None, *Grammar):
        found = reads_or_refuses(read_log, data, grammar)
        assert all(p.step >= 0 for p in found.points)


@QUICK
@given(st.one_of(mutated(LOG), st.just(LOG)), st.one_of(mutated(STAMPS), st.just(STAMPS)))
def test_a_runs_log_and_its_stamps(folder, log, stamps):
    (folder / "guest.log").write_bytes(log)
    (folder / "stamps").write_bytes(stamps)
    for grammar in Grammar:
        found = reads_or_refuses(
            read_run, folder / "guest.log", folder / "stamps", grammar, places=(str(folder / "stamps"),)
        )
        assert found is None or all(0 <= p.host_ns < 1 << 63 for p in found)
    reads_or_refuses(read_any, folder / "guest.log", places=(str(folder),))


@pytest.mark.parametrize(
    "line",
    [
        b"[-1,'o',1,1]", b"[1e3,\"o\",1,1]", b"[true,\"o\",1,1]", b"[1,\"o\",true,1]", b"[1,\"o\",1,1.0]",
        b"[1,\"o\",1,2]", b"[1,\"x\",1,1]", b"[1,[],1,1]", b"[1,\"o\",1,[]]", b"[1,\"o\",0,1]",
        b"[1,\"o\",-1,1]", b"[1,\"o\",1]", b"{}", b"1", b"", b"\xff", DEEP.encode(),
        b"[1" + b"0" * 5000 + b",\"o\",1,1]", b"[99999999999999999999999,\"o\",1,1]", b"[-5,\"o\",1,1]",
    ],
    ids=lambda line: line[:20].decode("latin-1") or "empty",
)  # fmt: skip
def test_a_line_that_is_no_stamp_is_named(tmp_path, line):
    (tmp_path / "guest.log").write_bytes(b"x")
    (tmp_path / "stamps").write_bytes(b'[1,"o",1,1]\n' + line + b"\n")
    with pytest.raises(IntegrityError, match="stamps:2: invalid stamp"):
        list(read_pieces(tmp_path / "guest.log", tmp_path / "stamps"))


def test_a_run_of_the_kit_is_read_by_its_stamps():
    assert all(p.host_ns is not None for p in read_any(ASSETS / "guest.log").points)


# --- data


@QUICK
@given(mutated(SHARD))
def test_a_shard(folder, data):
    path = folder / "fineweb_val_000000.bin"
    path.write_bytes(data)
    header = reads_or_refuses(read_header, path, places=(str(path),))
    if header is not None:
        assert len(read_tokens(path)) == header.tokens == (len(data) - HEADER_BYTES) // 2


@QUICK
@given(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1))
def test_a_shard_that_states_another_size_than_it_has(folder, magic, version, tokens):
    path = folder / "fineweb_val_000001.bin"
    for given_magic, given_version in ((magic, version), (20240520, 1)):
        path.write_bytes(
            struct.pack("<3i", given_magic, given_version, tokens).ljust(HEADER_BYTES, b"\0") + b"ab"
        )
        with within(4):
            reads_or_refuses(read_header, path, places=(str(path),))


# --- keys


@QUICK
@given(mutated(press().MAKE.SIGNER.public.pem))
def test_a_public_key(folder, data):
    path = folder / "them.pem"
    path.write_bytes(data)
    reads_or_refuses(keys.read_public, path, places=(str(path),))
    reads_or_refuses(keys.public_key, data, "the key", places=("the key",))


@pytest.fixture(scope="module")
def private(tmp_path_factory):
    own = tmp_path_factory.mktemp("keys") / "own"
    keys.load_or_create(own)
    return own, (own / keys.OWN).read_bytes()


@QUICK
@given(data=st.data())
def test_a_private_key(private, data):
    own, good = private
    (own / keys.OWN).write_bytes(data.draw(mutated(good)))
    reads_or_refuses(keys.load, own, places=(str(own),))
    (own / keys.OWN).write_bytes(good)


# --- archives


@QUICK
@given(mutated(capsule_of()))
def test_a_capsule(folder, data):
    (folder / "x.tar").write_bytes(data)
    target = folder / "unpacked" / "x"
    found = reads_or_refuses(unpack, folder / "x.tar", target)
    if found is None:
        assert not list((folder / "unpacked").iterdir())
    else:
        import shutil

        shutil.rmtree(target)


@QUICK
@given(st.integers(0, 2**33), st.sampled_from(("size", "oxum")))
def test_a_capsule_that_states_another_size_than_it_has(folder, size, where):
    with within(8):
        (folder / "y.tar").write_bytes(capsule_of(**{where: size}))
        reads_or_refuses(unpack, folder / "y.tar", folder / "unpacked" / "y")
    import shutil

    shutil.rmtree(folder / "unpacked" / "y", ignore_errors=True)


@QUICK
@given(mutated(capsule_of(filled=True), most=2))
def test_the_content_of_a_capsule(folder, data):
    import shutil

    from kit.result.keys import Trusted

    (folder / "z.tar").write_bytes(data)
    root = reads_or_refuses(unpack, folder / "z.tar", folder / "unpacked" / "z")
    if root is not None:
        reads_or_refuses(open_capsule, root, Trusted(()))
        shutil.rmtree(root)


@QUICK
@given(mutated(manifest_of()))
def test_an_oci_manifest(folder, data):
    digest = sha256_bytes(data)
    path = oci.blob_path(folder / "layout", digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    found = reads_or_refuses(oci.read_manifest, folder / "layout", digest, places=(str(path),))
    if found is not None:
        config, layers = found
        for blob in (config, *layers):
            assert len(blob.digest) == 64 and blob.size >= 0, "a manifest names blobs by digest, nothing else"
    path.unlink()


DEB = deb_of()


@QUICK
@given(mutated(DEB))
def test_a_deb(folder, data):
    reads_or_refuses(_deb, folder, data, places=("hello_1.0-1_all.deb",))


def _deb(folder, data):
    path = folder / "hello_1.0-1_all.deb"
    path.write_bytes(data)
    deb = Deb(path.name, len(data), Sha256("0" * 64), "hello", "1.0-1", "0" * 40, "pool/x")
    _, entries = read_deb(deb, path, folder / "spool.tar")
    return [b"".join(chunks(e.source)) for e in entries if e.source is not None]


@QUICK
@given(data=st.data())
def test_the_tar_in_a_deb(folder, data):
    inner = data.draw(mutated(_plain_tar()))
    reads_or_refuses(_deb, folder, deb_of(data=inner), places=("hello_1.0-1_all.deb",))


def _plain_tar():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, pax in (
            ("./usr", tarfile.DIRTYPE, {}), ("./usr/bin", tarfile.DIRTYPE, {}),
            ("./usr/bin/hello", tarfile.REGTYPE, {}), ("./usr/l", tarfile.SYMTYPE, {}),
            ("./usr/" + "n" * 150, tarfile.REGTYPE, {"comment": "x"}),
        ):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.linkname, info.pax_headers = kind, 0o755, "bin", pax
            info.size = 4 if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b"body"))
    return out.getvalue()


def _lying_tars():
    """Tar archives whose first header states what no file has."""
    plain = bytearray(_plain_tar())

    def made(start, value, kind=b"0"):
        block = bytearray(plain[:512])
        block[start : start + len(value)] = value
        block[156:157] = kind
        block[148:156] = b" " * 8
        block[148:155] = b"%06o\0" % sum(block)
        return bytes(block) + bytes(plain[512:])

    huge = b"\x80" + b"\x7f" * 11
    yield "size", made(124, huge)
    yield "negative size", made(124, b"\xff" * 12)
    yield "size of a pax header", made(124, huge, b"x")
    yield "size of a long name", made(124, huge, b"L")
    yield "negative size of a pax header", made(124, b"\xff" * 12, b"x")
    yield "eight gigabytes of pax header", made(124, b"77777777777", b"x")
    yield "eight gigabytes of long name", made(124, b"77777777777", b"L")
    yield "time", made(136, huge)
    yield "mode", made(100, b"\x80" + b"\x7f" * 7)
    yield "owner", made(108, b"\x80" + b"\x7f" * 7)
    yield "sparse", made(124, b"77777777777", b"S")
    for text in (
        "size=99999999999999999999999",
        "size=-1",
        "size=nan",
        "mtime=nan",
        "mtime=1e400",
        "mtime=x",
        "path=\0",
    ):
        yield f"pax {text[:14]!r}", _pax(text)
    yield "pax length", _pax_raw(b"99999999999999999999 path=x\n")
    yield "pax length 0", _pax_raw(b"0 path=x\n")
    yield "sparse map", _pax("GNU.sparse.map=0,99999999999999999999")
    yield "sparse 1.0", _pax("GNU.sparse.major=1\0")


def _pax(text):
    body = text.encode()
    length = len(body) + 3
    length += len(str(length))
    return _pax_raw(b"%d %s\n" % (length, body))


def _pax_raw(record):
    info = tarfile.TarInfo("pax")
    info.type, info.size = b"x", len(record)
    head = info.tobuf(tarfile.USTAR_FORMAT)
    return head + record + bytes(-len(record) % 512) + _plain_tar()


LIES = dict(_lying_tars())


@pytest.mark.parametrize("lie", LIES)
def test_a_deb_whose_tar_states_false_sizes(tmp_path, lie):
    data = deb_of(data=LIES[lie])
    with within(24):
        reads_or_refuses(_deb, tmp_path, data, places=("hello_1.0-1_all.deb",))


@pytest.mark.parametrize("lie", LIES)
def test_a_layer_that_states_false_sizes(tmp_path, lie):
    with within(24):
        reads_or_refuses(_layer, tmp_path, LIES[lie])


@QUICK
@given(data=mutated(_plain_tar()))
def test_a_layer(tmp_path_factory, data):
    reads_or_refuses(_layer, tmp_path_factory.mktemp("layer"), data)


def _layer(folder, data):
    blob, root = folder / "layer.tar", folder / "root"
    blob.write_bytes(data)
    root.mkdir()
    unpack_layer(blob, sha256_bytes(data), root, no_progress)


def test_an_ar_member_that_states_ten_gigabytes_is_refused_before_they_are_asked_for(tmp_path):
    data = DEB[:8] + DEB[8:56] + b"9999999999" + DEB[66:]
    with within(4):
        assert reads_or_refuses(_deb, tmp_path, data, places=("hello",)) is None


@pytest.mark.parametrize("suffix", [".xz", ".gz"])
def test_a_deb_that_unpacks_to_far_more_than_it_is(tmp_path, suffix):
    pack = {".xz": lzma.compress, ".gz": gzip.compress}[suffix]
    data = deb_of(data=bytes(100 << 20), pack=pack, suffix=suffix)
    with within(64):
        assert reads_or_refuses(_deb, tmp_path, data, places=("hello_1.0-1_all.deb",)) is None
    assert not (tmp_path / "spool.tar").exists() or (tmp_path / "spool.tar").stat().st_size <= 64 << 20


WHEEL = wheel_of()


@QUICK
@given(mutated(WHEEL))
def test_a_wheel(folder, data):
    reads_or_refuses(_wheel, folder, data, places=("small-2.0-py3-none-any.whl",))


def _wheel(folder, data):
    path = folder / "small-2.0-py3-none-any.whl"
    path.write_bytes(data)
    entries = read_wheel(Wheel(path.name, len(data), Sha256("0" * 64), "small", "2.0"), path, "3.11")
    from kit.image.tarball import write_tar

    write_tar(entries, EPOCH, lambda piece: None, lambda done: None)


@pytest.mark.parametrize("what", ["RECORD", "WHEEL", "METADATA", "entry_points.txt"])
@QUICK
@given(data=st.data())
def test_the_metadata_of_a_wheel(folder, what, data):
    name = f"small-2.0.dist-info/{what}"
    with zipfile.ZipFile(io.BytesIO(WHEEL)) as zipped:
        changed = data.draw(mutated(zipped.read(name)))
    reads_or_refuses(_wheel, folder, wheel_of({name: changed}), places=("small-2.0",))


@QUICK
@given(mutated(gzip.compress(LOG)))
def test_a_gzipped_log(folder, data):
    (folder / "guest.log.gz").write_bytes(data)
    reads_or_refuses(inflate, folder / "guest.log.gz", places=("guest.log.gz",))


def test_a_gzipped_log_that_unpacks_to_a_gigabyte(tmp_path):
    (tmp_path / "guest.log.gz").write_bytes(gzip.compress(bytes(1 << 28), 9))
    with within(160):
        assert reads_or_refuses(inflate, tmp_path / "guest.log.gz", places=("guest.log.gz",)) is None


# --- folders and sockets

NAMES = st.one_of(
    st.sampled_from(
        ("train_gpt2.py", "run.toml", "a b", "-x", ".hidden", "x" * 200, "ü.py", "a\nb", "__pycache__")
    ),
    st.text(st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=40),
)


@QUICK
@given(
    st.dictionaries(
        NAMES, st.one_of(st.binary(max_size=60), st.sampled_from(("link", "folder", "pipe"))), max_size=5
    )
)
def test_the_folder_of_a_submission(tmp_path_factory, found):
    import os

    root = tmp_path_factory.mktemp("submission")
    for name, content in found.items():
        path = root / name
        with contextlib.suppress(OSError):  # too long for this file system
            match content:
                case "link":
                    path.symlink_to("/etc/passwd")
                case "folder":
                    path.mkdir()
                case "pipe":
                    os.mkfifo(path)
                case bytes():
                    path.write_bytes(content)
    loaded = reads_or_refuses(load_submission, root, places=(str(root),))
    if loaded is not None:
        assert all(f.name.isascii() for f in loaded.files)
        assert loaded.files == tuple(sorted(loaded.files, key=lambda f: f.name))


@QUICK
@given(mutated(b"unix:///run/docker.sock\n" + b"0123456789abcdef" * 4 + b"\n"))
def test_the_lease_of_a_container(folder, data):
    (folder / "r03").write_bytes(data)
    reads_or_refuses(lease.read, folder, "r03")


FRAMES = b"\x01\0\0\0\0\0\0\x05hello\x02\0\0\0\0\0\0\x03bad\x01\0\0\0\0\0\0\0"


@QUICK
@given(st.one_of(mutated(FRAMES), st.just(b"\x01\0\0\0\xff\xff\xff\xff" + b"x" * 100)))
def test_the_frames_of_an_engine(data):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        with within(2):
            assert all(kind in (1, 2) and piece for kind, piece in frames(ours))


def test_the_seeds_are_good(tmp_path):
    assert _deb(tmp_path, DEB) and read_log(UPSTREAM).points
    _wheel(tmp_path, WHEEL)
    _layer(tmp_path, _plain_tar())
    assert LayerFile and archive
