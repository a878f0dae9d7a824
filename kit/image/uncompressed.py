"""Open a layer as a plain tar, whether it is plain, gzip or Zstandard."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from isal import igzip, isal_zlib

from kit.core.digest import CHUNK
from kit.core.errors import IntegrityError, PrerequisiteError
from kit.core.extras import system_install
from kit.core.reading import open_file
from kit.image.tarball import BLOCK

MAX_LAYER = 64 << 30
"""Most bytes of an uncompressed layer."""
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_OTHERS = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x04\x22\x4d\x18": "lz4"}


@contextlib.contextmanager
def open_layer(path: Path) -> Iterator[IO[bytes]]:
    """
    Yield a layer's uncompressed bytes as a real file; a compressed layer is unpacked to a temporary one.

    Raises `IntegrityError` for a damaged, too large or otherwise compressed layer, and `PrerequisiteError` if
    nothing here reads Zstandard.
    """
    with open_file(path) as file:
        magic = file.read(6)
        file.seek(0)
        if magic.startswith(_GZIP):
            with (
                _gunzip(file) as gzipped,
                _unpacked(gzipped, path, "gzip") as plain,
            ):
                yield plain
        elif magic.startswith(_ZSTD):
            with _zstd(path, file) as source, _unpacked(source, path, "Zstandard") as plain:
                yield plain
        else:
            for start, name in _OTHERS.items():
                if magic.startswith(start):
                    raise IntegrityError(
                        f"cannot read layer {path}: it is compressed with {name}",
                        "give an image with plain, gzip or Zstandard layers",
                    )
            yield file


def _gunzip(file: IO[bytes]) -> IO[bytes]:
    """Return a reader of all members of a gzip file."""
    opened: IO[bytes] = cast(Any, igzip).IGzipFile(fileobj=file, mode="rb")
    return opened


@contextlib.contextmanager
def _unpacked(source: IO[bytes], path: Path, form: str) -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile(prefix="speedrun-layer-") as plain:
        for chunk in _chunks(source, path, form):
            plain.write(chunk)
            if plain.tell() > MAX_LAYER:
                raise IntegrityError(f"layer {path} unpacks to more than {MAX_LAYER} bytes")
        plain.write(bytes(-plain.tell() % BLOCK))  # umoci leaves out what fills the last block
        plain.flush()
        plain.seek(0)
        yield cast(IO[bytes], plain)


def _chunks(source: IO[bytes], path: Path, form: str) -> Iterator[bytes]:
    """Yield what `source` unpacks. An error of the disk is raised as it is."""
    while True:
        try:
            chunk = source.read(CHUNK)
        except (EOFError, ValueError, igzip.BadGzipFile, isal_zlib.error) as e:  # type: ignore[misc]
            raise _damaged(path, form, str(e)) from e
        except (OSError, MemoryError, IntegrityError):
            raise
        except Exception as e:  # the Zstandard readers have errors of their own
            raise _damaged(path, form, str(e)) from e
        if not chunk:
            return
        yield chunk


def _damaged(path: Path, form: str, why: str) -> IntegrityError:
    return IntegrityError(f"cannot read layer {path}: damaged {form}: {why}", "copy the image again")


@contextlib.contextmanager
def _zstd(path: Path, file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Yield a reader of all frames: Python's own (3.14), the program `zstd`, or the package `zstandard`."""
    if (module := _module("compression.zstd")) is not None:
        with module.open(file, "rb") as source:
            yield source
    elif (program := shutil.which("zstd")) is not None:
        with _piped([program, "-dcq", "--", str(path.absolute())], path) as source:
            yield source
    elif (module := _module("zstandard")) is not None:
        with module.ZstdDecompressor().stream_reader(file, read_across_frames=True) as source:
            yield source
    else:
        raise PrerequisiteError(
            f"cannot read layer {path}: it is compressed with Zstandard, and zstd is not installed",
            system_install("zstd"),
        )


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


@contextlib.contextmanager
def _piped(argv: list[str], path: Path) -> Iterator[IO[bytes]]:
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as p:
        try:
            yield cast(IO[bytes], _Piped(p, path))
        finally:
            p.kill()


class _Piped:
    """The output of a program, whose exit code is looked at where it ends."""

    def __init__(self, process: subprocess.Popen[bytes], path: Path) -> None:
        self._process = process
        self._path = path

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes. Raises `IntegrityError` if the program failed."""
        assert self._process.stdout is not None  # noqa: S101  # it is a pipe
        data = self._process.stdout.read(size)
        if not data and (code := self._process.wait()) != 0:
            raise _damaged(self._path, "Zstandard", f"zstd exited with {code}")
        return data
