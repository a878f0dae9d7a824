"""The image room's way into an engine: what is not there is loaded, and found again by digest alone."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from kit.core.digest import Sha256, is_sha256
from kit.core.errors import DigestMismatch, PrerequisiteError, RunError
from kit.core.store import Progress, no_progress
from kit.image import archive
from kit.image.archive import NOTHING
from kit.image.build import Layout
from kit.sandbox import engine
from kit.sandbox.engine import Engine, EngineInfo, EngineName

LOADED_WITHIN_S = 1800.0
"""For one sign of life while an engine unpacks: it says nothing while it writes a layer of gigabytes."""
PODMAN = "podman"
PODMAN_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """An image that an engine has."""

    engine: str
    """Its name and version."""
    id: str
    """The engine's id of it, with `sha256:`: one of the two digests that are committed."""
    sent: int
    """Bytes that had to be sent; 0 if it was there."""
    layers_left_out: int
    """Layers whose bytes the engine had."""


def ensure_loaded(layout: Layout, url: str, progress: Progress = no_progress) -> LoadedImage:
    """
    Load the image into the engine at a socket, unless it is there, and see that it is the promised one.

    Raises `PrerequisiteError` if no engine answers, `DigestMismatch` if the engine ends up with another
    image, `RunError` if it refuses the archive.
    """
    asking = Engine(url)
    try:
        about = asking.about()
        name = f"{about.name} {about.version}"
        image_id = asking.image_id(layout.config_digest, layout.manifest_digest)
        if image_id is not None:
            return LoadedImage(name, image_id, 0, len(layout.diff_ids))
        without = _shared_layers(layout, about, asking)
        sent = archive.size(layout, without)
        loading = Engine(url, LOADED_WITHIN_S)
        try:
            loading.load(_pieces_with_progress(layout, without, sent, progress))
        finally:
            loading.close()
        image_id = asking.image_id(layout.config_digest, layout.manifest_digest)
        return LoadedImage(name, _require_image_id(image_id, layout), sent, len(without))
    finally:
        asking.close()


def load_podman(layout: Layout, url: str, progress: Progress = no_progress) -> LoadedImage:
    """Load the image into Podman: at its socket, if it answers there, or else through its program."""
    if engine.answers(url):
        loaded = ensure_loaded(layout, url, progress)
        if not loaded.engine.startswith(EngineName.PODMAN):
            raise PrerequisiteError(f"{loaded.engine} answers at {url}, not Podman", "use --engine docker")
        return loaded
    name = " ".join(_podman("--version").split()).replace(" version", "")
    image_id = _podman_id(layout)
    if image_id is not None:
        return LoadedImage(name, image_id, 0, len(layout.diff_ids))
    sent = archive.size(layout)
    _podman_load(_pieces_with_progress(layout, NOTHING, sent, progress))
    return LoadedImage(name, _require_image_id(_podman_id(layout), layout), sent, 0)


def _shared_layers(layout: Layout, about: EngineInfo, asking: Engine) -> frozenset[Sha256]:
    """
    Return the layers that need not be sent: the longest run, from the lowest, that an image there has too.

    Only Docker's classic store takes an archive with gaps.
    """
    if about.name is not EngineName.DOCKER or about.containerd_store:
        return NOTHING
    most = max((_count_shared(layout, chain) for chain in asking.chains()), default=0)
    return frozenset(layout.diff_ids[:most])


def _count_shared(layout: Layout, chain: tuple[Sha256, ...]) -> int:
    """Return how many of the lowest layers are the same."""
    pairs = zip(layout.diff_ids, chain, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _pieces_with_progress(
    layout: Layout, without: frozenset[Sha256], total: int, progress: Progress
) -> Iterator[bytes]:
    done = 0
    for piece in archive.pieces(layout, without):
        yield piece
        done += len(piece)
        progress(f"load {layout.era}", done, total)


def _require_image_id(image_id: str | None, layout: Layout) -> str:
    if image_id is None:
        raise DigestMismatch(
            f"the engine took the archive of {layout.era}, but has no image sha256:{layout.config_digest}"
            f" or sha256:{layout.manifest_digest}",
            f"speedrun image verify {layout.era}",
        )
    return image_id


def _podman(*arguments: str) -> str:
    try:
        done = subprocess.run(
            [PODMAN, *arguments], capture_output=True, text=True, timeout=PODMAN_PATIENCE_S, check=False
        )
    except FileNotFoundError as e:
        raise PrerequisiteError("podman is not installed", "apt-get install podman") from e
    except subprocess.TimeoutExpired as e:
        raise RunError(
            f"podman {arguments[0]} did not answer in {PODMAN_PATIENCE_S:.0f} s",
            f"by hand: podman {arguments[0]}",
        ) from e
    if done.returncode:
        raise RunError(
            f"podman {arguments[0]} failed: {done.stderr.strip()[-300:]}", f"by hand: podman {arguments[0]}"
        )
    return done.stdout


def _podman_id(layout: Layout) -> str | None:
    candidates = (layout.config_digest, layout.manifest_digest)
    ids = {line.removeprefix("sha256:") for line in _podman("images", "--no-trunc", "--quiet").split()}
    return next((f"sha256:{digest}" for digest in candidates if is_sha256(digest) and digest in ids), None)


def _podman_load(pieces: Iterator[bytes]) -> None:
    process = subprocess.Popen(
        [PODMAN, "load", "--quiet"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stdin and process.stderr  # noqa: S101 - PIPE was asked for
    with process:
        with contextlib.suppress(BrokenPipeError):  # it says why
            for piece in pieces:
                process.stdin.write(piece)
        with contextlib.suppress(BrokenPipeError):  # what is left in the buffer
            process.stdin.close()
        stderr = process.stderr.read().decode(errors="replace")
    if process.returncode:
        raise RunError(f"podman did not load the image: {stderr.strip()[-300:]}", "podman info")
