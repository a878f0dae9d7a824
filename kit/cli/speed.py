"""Format the measurements of the speed probe."""

from __future__ import annotations

import re
from collections.abc import Iterator

FORMATS = (
    ("matmul_bf16_tflops", "bf16 products {:.4g} TFLOP/s"),
    ("copy_gbs", "copies {:.4g} GB/s"),
    ("sm_clock_mhz", "at {:.4g} MHz"),
    ("sm_clock_max_mhz", "of {:.4g}"),
    ("memory_clock_mhz", "memory {:.4g} MHz"),
    ("power_limit_w", "{:.4g} W at most"),
    ("temperature_c", "{:.4g} °C"),
)
OF_A_GPU = re.compile(r"gpu([0-9]{1,4})\.[a-z0-9_]+", re.ASCII)


def speed_lines(figures: tuple[tuple[str, float], ...]) -> Iterator[str]:
    """Yield one line for each GPU and one for all of them together; skip unknown names."""
    known = dict(figures)
    gpus = sorted({int(match[1]) for name in known if (match := OF_A_GPU.fullmatch(name))})
    for gpu in gpus:
        texts = [
            text.format(known[f"gpu{gpu}.{name}"]) for name, text in FORMATS if f"gpu{gpu}.{name}" in known
        ]
        if texts:
            yield f"GPU {gpu}: {', '.join(texts)}"
    if "all_reduce_gbs" in known:
        yield f"all GPUs: NCCL sums {known['all_reduce_gbs']:.4g} GB/s of bus bandwidth"
