"""The hardware of the records, and the settings that take links between GPUs away."""

from __future__ import annotations

RECORD_GPUS = 8
"""Every upstream record is timed on so many."""
RECORD_MODELS = ("NVIDIA H100 80GB HBM3", "NVIDIA H200")

LINK_VARIABLES = (
    "NCCL_NVLS_ENABLE",
    "NCCL_P2P_DISABLE",
    "NCCL_SHM_DISABLE",
    "NVSHMEM_DISABLE_NVLS",
    "TORCH_SYMM_MEM_DISABLE_MULTICAST",
)
"""
Environment variables that reach a guest, and no others: each can only take a link away. See:
https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html
"""

LinkSettings = tuple[tuple[str, str], ...]
"""(variable, value), sorted by variable."""


def format_settings(settings: LinkSettings) -> str:
    """Write settings as a shell would."""
    return " ".join(f"{name}={value}" for name, value in settings)
