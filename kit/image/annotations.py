"""Describe an image in an index, by the standard annotations that registries and other tools show."""

from __future__ import annotations

from dataclasses import dataclass

from kit.image.build import Layout
from kit.image.oci import Descriptor, created_at, index_document, tag

PREFIX = "org.opencontainers.image."
"""See: https://github.com/opencontainers/image-spec/blob/v1.1.0/annotations.md"""


@dataclass(frozen=True, slots=True)
class ImageSource:
    """The repository with the image's lock, as far as it is known."""

    url: str | None
    revision: str | None
    """Commit."""


def standard_annotations(layout: Layout, source: ImageSource) -> dict[str, str]:
    """
    Return the annotations of an era's image.

    There is no `licenses`: an image holds hundreds of packages, and `image sbom` lists their licences.
    """
    known = {
        "title": tag(layout.era),
        "description": layout.summary,
        "version": layout.era,
        "created": created_at(layout.epoch),
        "source": source.url,
        "revision": source.revision,
    }
    return {f"{PREFIX}{name}": text for name, text in known.items() if text}


def registry_index(layout: Layout, manifest: Descriptor, source: ImageSource) -> bytes:
    """
    Return the index that a tag in a registry names; the signed manifest stays as it is.

    The same era and source give the same bytes. Index and entry have the same annotations: some registries
    show those of the index, and tools that choose a platform those of its entry.
    """
    annotations = standard_annotations(layout, source)
    return index_document(manifest, annotations, annotations)
