"""Write and read OCI documents: config, manifest and layout."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.core.digest import Sha256, canonical_json, is_sha256, sha256_bytes
from kit.core.errors import DigestMismatch, SchemaError
from kit.core.schema import parse_json, read_bounded
from kit.core.text import in_shell
from kit.image.base import GUEST_UID
from kit.image.layer import LayerFile
from kit.image.spec import EraSpec

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
"""Uncompressed: compressed bytes would depend on the compressor's version."""

REPOSITORY = "speedrun-kit"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob that a manifest names."""

    digest: Sha256
    size: int


@dataclass(frozen=True, slots=True)
class ImageDocuments:
    """An image's config and manifest, in canonical form."""

    config: bytes
    manifest: bytes

    @property
    def config_digest(self) -> Sha256:
        """The image id in engines with the classic store."""
        return sha256_bytes(self.config)

    @property
    def manifest_digest(self) -> Sha256:
        """The image id in engines with the containerd store."""
        return sha256_bytes(self.manifest)


def tag(era: str) -> str:
    """Return the name of an era's image in an engine. Images are identified by digest, not by name."""
    return f"{REPOSITORY}:{era}"


def describe(spec: EraSpec, layers: Iterable[LayerFile]) -> ImageDocuments:
    """Return the documents of an image with these layers, without builder, host or build date."""
    stack = list(layers)
    created = created_at(spec.epoch)
    config = canonical_json(
        {
            "architecture": "amd64",
            "config": {
                "Cmd": ["/bin/bash"],
                "Env": [f"{key}={value}" for key, value in spec.env],
                "Labels": {
                    "org.opencontainers.image.title": tag(spec.era),
                    "org.opencontainers.image.description": spec.summary,
                },
                "User": f"{GUEST_UID}:{GUEST_UID}",
                "WorkingDir": "/workspace",
            },
            "created": created,
            "history": [
                {"created": created, "created_by": f"{REPOSITORY}: {layer.title}"} for layer in stack
            ],
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest}" for layer in stack]},
        }
    )
    manifest = canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _descriptor(CONFIG_TYPE, sha256_bytes(config), len(config)),
            "layers": [_descriptor(LAYER_TYPE, layer.digest, layer.size) for layer in stack],
        }
    )
    return ImageDocuments(config, manifest)


def created_at(epoch: int) -> str:
    """Return the epoch of an era as RFC 3339 text, as OCI documents state it."""
    return datetime.datetime.fromtimestamp(epoch, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _descriptor(media_type: str, digest: Sha256, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}


def blob_path(layout: Path, digest: Sha256) -> Path:
    """Return the path of a blob in a layout."""
    return layout / "blobs" / "sha256" / digest


def write_layout(folder: Path, era: str, manifest: Sha256, size: int) -> None:
    """Write a layout's two small files and its directories; the caller adds the blobs."""
    (folder / "blobs" / "sha256").mkdir(parents=True)
    for name, data in layout_documents(era, manifest, size).items():
        (folder / name).write_bytes(data)


def layout_documents(era: str, manifest: Sha256, size: int) -> dict[str, bytes]:
    """Return a layout's two small files by name; `size` is the manifest's."""
    names = {"org.opencontainers.image.ref.name": era, "io.containerd.image.name": tag(era)}
    return {
        "index.json": index_document(Descriptor(manifest, size), names),
        "oci-layout": canonical_json({"imageLayoutVersion": "1.0.0"}),
    }


def index_document(
    manifest: Descriptor, entry: Mapping[str, str], annotations: Mapping[str, str] | None = None
) -> bytes:
    """Return an index of one image, with annotations on its entry and, if given, on the index itself."""
    listed = _descriptor(MANIFEST_TYPE, manifest.digest, manifest.size)
    listed["annotations"] = dict(entry)
    listed["platform"] = {"architecture": "amd64", "os": "linux"}
    document = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [listed]}
    return canonical_json(document if annotations is None else {**document, "annotations": dict(annotations)})


def read_document(layout: Path, digest: Sha256) -> bytes:
    """
    Return the bytes of a layout's manifest or config.

    Raises `DigestMismatch` if the digest differs, `SchemaError` if the file is too large,
    `FileNotFoundError` if it is missing.
    """
    path = blob_path(layout, digest)
    data = read_bounded(path)
    if sha256_bytes(data) != digest:
        raise DigestMismatch(
            f"checksum mismatch: {path} was changed",
            f"rm -r {in_shell(layout, path)}, then run the command again",
        )
    return data


def read_manifest(layout: Path, digest: Sha256) -> tuple[Descriptor, tuple[Descriptor, ...]]:
    """
    Return a layout's config and layers, in order.

    Raises as `read_document` does, and `SchemaError` if it is not a manifest. The blobs are not checked.
    """
    path, data = blob_path(layout, digest), read_document(layout, digest)
    document = parse_json(data, str(path))
    try:
        return _read(document["config"]), tuple(_read(layer) for layer in document["layers"])
    except (AttributeError, KeyError, TypeError, ValueError) as e:
        raise SchemaError(f"{path} is not an OCI image manifest") from e


def _read(descriptor: Any) -> Descriptor:
    digest, size = descriptor["digest"].removeprefix("sha256:"), descriptor["size"]
    if not is_sha256(digest) or type(size) is not int or size < 0:
        raise ValueError("not a descriptor")
    return Descriptor(Sha256(digest), size)


def docker_manifest(era: str, config: Descriptor, layers: Iterable[Descriptor]) -> bytes:
    """Return the manifest.json that `docker load` looks for in an archive of this layout."""
    return canonical_json(
        [
            {
                "Config": f"blobs/sha256/{config.digest}",
                "Layers": [f"blobs/sha256/{layer.digest}" for layer in layers],
                "RepoTags": [tag(era)],
            }
        ]
    )
