"""
Compress and decompress frames: by the machine's libzstd, or by isal, which the kit depends on.

A frame is compressed alone, so frames can be unpacked in any order and on several cores at once.
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import Protocol

from isal import isal_zlib

ZSTD = "libzstd.so.1"
LEVEL = 9
"""Of zstd: about 60 MB a second on a core, and 0.18 of an image without CUDA remains."""


class Codec(Protocol):
    """Compresses frames."""

    name: str

    def compress(self, data: bytes) -> bytes:
        """Return a frame."""

    def decompress(self, frame: bytes, size: int) -> bytes:
        """Return what a frame of `size` bytes holds. Raises `ValueError` for another size, or no frame."""


class Zstd:
    """Frames of Zstandard, by the shared library that dpkg and apt also use; no program and no package."""

    name = "zstd"

    def __init__(self, library: str | Path = ZSTD, level: int = LEVEL) -> None:
        self._level = level
        self._zstd = ctypes.CDLL(str(library))
        sizes = [ctypes.c_void_p, ctypes.c_size_t] * 2
        for name, arguments in {
            "ZSTD_compressBound": sizes[1:2],
            "ZSTD_compress": [*sizes, ctypes.c_int],
            "ZSTD_decompress": sizes,
        }.items():
            getattr(self._zstd, name).restype = ctypes.c_size_t
            getattr(self._zstd, name).argtypes = arguments
        self._zstd.ZSTD_isError.argtypes = [ctypes.c_size_t]

    def compress(self, data: bytes) -> bytes:
        """See `Codec.compress`."""
        room = ctypes.create_string_buffer(self._zstd.ZSTD_compressBound(len(data)))
        size = self._zstd.ZSTD_compress(room, len(room), data, len(data), self._level)
        if self._zstd.ZSTD_isError(size):
            raise ValueError("libzstd cannot compress a frame")
        return bytes(memoryview(room)[:size])

    def decompress(self, frame: bytes, size: int) -> bytes:
        """See `Codec.decompress`."""
        room = ctypes.create_string_buffer(max(size, 1))
        found = self._zstd.ZSTD_decompress(room, size, frame, len(frame))
        if self._zstd.ZSTD_isError(found) or found != size:
            raise ValueError(f"not a frame of {size:,} bytes")
        return bytes(memoryview(room)[:size])


class Deflate:
    """Frames of zlib, by isal: a third larger than those of Zstandard."""

    name = "deflate"

    def compress(self, data: bytes) -> bytes:
        """See `Codec.compress`."""
        return bytes(isal_zlib.compress(data, 3))

    def decompress(self, frame: bytes, size: int) -> bytes:
        """See `Codec.decompress`."""
        inflate = isal_zlib.decompressobj()
        try:
            data = bytes(inflate.decompress(frame, size + 1))
        except isal_zlib.error as e:
            raise ValueError(f"not a frame of {size:,} bytes") from e
        if len(data) != size or not inflate.eof:
            raise ValueError(f"not a frame of {size:,} bytes")
        return data


def best_codec(level: int = LEVEL) -> Codec:
    """Return Zstandard if this machine has its library, else deflate."""
    try:
        return Zstd(level=level)
    except OSError:
        return Deflate()


@functools.cache
def codec_named(name: str, folder: Path) -> Codec:
    """
    Return the codec of a list of pieces; a copy of libzstd in `folder` is used if the machine has none.

    Raises `ValueError` for another name, `OSError` if there is no libzstd.
    """
    if name == Deflate.name:
        return Deflate()
    if name != Zstd.name:
        raise ValueError(f"unknown codec {name[:40]!r}")
    try:
        return Zstd()
    except OSError:
        return Zstd(folder / ZSTD)
