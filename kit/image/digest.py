"""Read, write and compare images/<era>/digest: the expected digests of an image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kit.core.digest import Sha256, is_sha256
from kit.core.errors import PrerequisiteError, SchemaError, StaleLock
from kit.core.files import write_atomic
from kit.core.schema import read_bounded
from kit.image.lock import Lock, lock_path
from kit.image.spec import EraSpec


@dataclass(frozen=True, slots=True)
class ImageIdentity:
    """The digests of an image. An engine's image id is the config digest or the manifest digest."""

    config: Sha256
    manifest: Sha256
    layers: tuple[tuple[str, Sha256], ...]
    """(title, diffID), lowest first."""

    @property
    def diff_ids(self) -> tuple[Sha256, ...]:
        """The layers' digests, lowest first."""
        return tuple(digest for _, digest in self.layers)

    def document(self) -> dict[str, object]:
        """Return the digests as JSON."""
        return {
            "config": self.config,
            "manifest": self.manifest,
            "layers": [{"title": title, "diff_id": digest} for title, digest in self.layers],
        }

    def differences(self, actual: ImageIdentity) -> tuple[str, ...]:
        """Return a sentence for each digest of `actual` that differs; empty if all are equal."""
        sentences = []
        for at, ((title, expected_layer), (_, actual_layer)) in enumerate(
            zip(self.layers, actual.layers, strict=False)
        ):
            if expected_layer != actual_layer:
                sentences.append(f"layer {at} ({title}): expected {expected_layer}, found {actual_layer}")
        if len(self.layers) != len(actual.layers):
            sentences.append(f"layers: expected {len(self.layers)}, found {len(actual.layers)}")
        if self.config != actual.config:
            sentences.append(f"config: expected {self.config}, found {actual.config}")
        if self.manifest != actual.manifest:
            sentences.append(f"manifest: expected {self.manifest}, found {actual.manifest}")
        return tuple(sentences)


def digest_path(spec: EraSpec) -> Path:
    """Return the path of the era's digest file, which need not exist."""
    return spec.source.with_name("digest")


def read_identity(spec: EraSpec, lock: Lock) -> ImageIdentity:
    """
    Read the expected digests of the era's image.

    Raises `PrerequisiteError` if there is no digest file, `StaleLock` if it was written for another
    lock, `SchemaError` if it is malformed or too large.
    """
    path = digest_path(spec)
    command = f"speedrun image build {spec.era} --accept"
    try:
        lines = read_bounded(path).decode("utf-8").splitlines()
    except FileNotFoundError as e:
        raise PrerequisiteError(f"{path} does not exist", command) from e
    except UnicodeDecodeError as e:
        raise SchemaError(f"{path} is not UTF-8 text") from e
    rows = [line.split(maxsplit=2) for line in lines if line and not line.startswith("#")]
    single: dict[str, Sha256] = {}
    layers: list[tuple[str, Sha256]] = []
    for row in rows:
        digest = Sha256(row[1].removeprefix("sha256:")) if len(row) > 1 else Sha256("")
        if not is_sha256(digest) or row[0] in single:
            raise SchemaError(f"{path}: cannot parse {' '.join(row)[:100]!r}", command)
        if row[0] == "layer" and len(row) == 3:
            layers.append((row[2], digest))
        else:
            single[row[0]] = digest
    if set(single) != {"lock", "config", "manifest"} or not layers:
        raise SchemaError(f"{path}: expected lock, config, manifest and at least one layer", command)
    if single["lock"] != lock.sha256:
        raise StaleLock(
            f"{path} is stale: it was written for another version of {lock_path(spec)}"
            f" (sha256 {single['lock'][:12]}…, now {lock.sha256[:12]}…)",
            command,
        )
    return ImageIdentity(single["config"], single["manifest"], tuple(layers))


def render_identity(spec: EraSpec, lock: Lock, identity: ImageIdentity) -> bytes:
    """Return the bytes of the file with the expected digests of the era's image."""
    lines = [
        f"# The image of era {spec.era}: what lock.json must build into, on any machine.",
        f"lock      sha256:{lock.sha256}",
        f"config    sha256:{identity.config}",
        f"manifest  sha256:{identity.manifest}",
        *(f"layer     sha256:{digest}  {title}" for title, digest in identity.layers),
    ]
    return ("\n".join(lines) + "\n").encode()


def write_identity(spec: EraSpec, lock: Lock, identity: ImageIdentity) -> Path:
    """Write the expected digests of the era's image, and return the file."""
    path = digest_path(spec)
    write_atomic(path, render_identity(spec, lock, identity))
    return path
