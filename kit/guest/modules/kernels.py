"""Answer the call by which the records' scripts download FlashAttention-3: it is in the image."""

import types

REPOSITORIES = ("kernels-community/flash-attn3", "varunneal/flash-attention-3")
"""What records 38 to 89 ask for. They name no revision, so each run got what the hub had on that day."""

__all__ = ["get_kernel"]


def get_kernel(
    repo_id: str, revision: str | None = None, version: int | None = None, trust_remote_code: bool = False
) -> types.SimpleNamespace:
    """
    Return an object with `flash_attn_interface`, the image's own, for whichever version a script asks.

    Raises `ValueError` for any other repository.
    """
    if repo_id not in REPOSITORIES:
        raise ValueError(f"this image has no kernel {repo_id!r}, only {' and '.join(REPOSITORIES)}")
    import flash_attn_interface

    return types.SimpleNamespace(flash_attn_interface=flash_attn_interface)
