"""The hardware of the records, and the variables that disable links between GPUs."""

from __future__ import annotations

RECORD_GPUS = 8
"""Number of GPUs that every upstream record is timed on."""
RECORD_MODELS = ("NVIDIA H100 80GB HBM3", "NVIDIA H200")

LINK_VARIABLES = (
    "NCCL_NVLS_ENABLE",
    "NCCL_P2P_DISABLE",
    "NCCL_SHM_DISABLE",
    "NVSHMEM_DISABLE_NVLS",
    "TORCH_SYMM_MEM_DISABLE_MULTICAST",
)
"""
The only environment variables that are passed to a guest; each can only disable a link. See:
https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html
"""

LinkSettings = tuple[tuple[str, str], ...]
"""(variable, value), sorted by variable."""


def format_settings(settings: LinkSettings) -> str:
    """Format settings in shell syntax."""
    return " ".join(f"{name}={value}" for name, value in settings)
