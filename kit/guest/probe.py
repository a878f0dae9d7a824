"""
How fast the GPUs are that a guest gets: one line of JSON, and nothing else on stdout. Imports no kit.

Runs in its own start before the submission's, in the same image and under the same limits. Needs torch and
triton. What is measured, with random numbers and of one GPU after the other:

    gpuN.matmul_bf16_tflops     a product of two 8192 x 8192 matrices, median of 10 groups of 10
    gpuN.copy_gbs               a Triton kernel that copies 2 GiB; bytes read and bytes written, median of 10
    gpuN.sm_clock_mhz           while the products run; sm_clock_max_mhz and memory_clock_mhz likewise
    gpuN.power_limit_w, gpuN.temperature_c, gpuN.multiprocessors
    all_reduce_gbs              NCCL's bus bandwidth for 512 MiB, with two GPUs or more, from one process
    seconds                     of this program

What the driver does not say is left out, and so is the sum of all GPUs where NCCL fails; stderr says why.
Anything else that fails ends the probe with exit code 1.
"""

import ctypes
import itertools
import json
import os
import statistics
import sys
import time

BEGAN = time.monotonic()

import torch  # noqa: E402 - its import is part of the time
import triton  # noqa: E402
import triton.language as tl  # noqa: E402

SIZE = 8192
FLOP = 2 * SIZE**3
PRODUCTS, GROUPS = 10, 10
WARM_PRODUCTS = 150
"""About 0.2 s: an idle GPU needs some of that to raise its clocks."""
COPIED = 1 << 31
"""Bytes; many times what the caches hold."""
BLOCK = 8192
REDUCED = 512 << 20
SM_CLOCK, MEMORY_CLOCK = 1, 2
"""NVML's names for them."""


@triton.jit
def copy(source, target, count, BLOCK: tl.constexpr):
    """Copy 32-bit words, one block of them per program."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    kept = at < count
    tl.store(target + at, tl.load(source + at, mask=kept), mask=kept)


def timed(run, times):
    """Queue `run` so many times and return what gives the seconds of each, once the GPU is done."""
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(times + 1)]
    marks[0].record()
    for mark in marks[1:]:
        run()
        mark.record()

    def seconds():
        torch.cuda.synchronize()
        return [a.elapsed_time(b) / 1000 for a, b in itertools.pairwise(marks)]

    return seconds


def matmul(index):
    """Return TFLOP/s of bfloat16 products, and what NVML says while they run."""
    a, b = (torch.randn(SIZE, SIZE, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    out = torch.empty_like(a)
    for _ in range(WARM_PRODUCTS):
        torch.mm(a, b, out=out)

    def group():
        for _ in range(PRODUCTS):
            torch.mm(a, b, out=out)

    seconds = timed(group, GROUPS)
    figures = telemetry(index)
    figures["matmul_bf16_tflops"] = PRODUCTS * FLOP / statistics.median(seconds()) / 1e12
    if not torch.isfinite(out).all():
        raise RuntimeError("a product of finite matrices is not finite")
    return figures


def bandwidth():
    """Return GB/s of a copy within the GPU's memory."""
    count = COPIED // 4
    source = torch.randint(-(1 << 31), (1 << 31) - 1, (count,), device="cuda", dtype=torch.int32)
    target = torch.zeros_like(source)
    blocks = (triton.cdiv(count, BLOCK),)
    copy[blocks](source, target, count, BLOCK=BLOCK, num_warps=8)
    if not torch.equal(source, target):
        raise RuntimeError("the copy differs from its source")
    seconds = timed(lambda: copy[blocks](source, target, count, BLOCK=BLOCK, num_warps=8), GROUPS)
    return {"copy_gbs": 2 * COPIED / statistics.median(seconds()) / 1e9}


def all_reduce(count):
    """Return the bus bandwidth of a sum over all GPUs, in GB/s."""
    from torch.cuda import nccl

    parts = [torch.ones(REDUCED // 2, device=f"cuda:{i}", dtype=torch.bfloat16) for i in range(count)]

    def wait():
        for i in range(count):
            torch.cuda.synchronize(i)

    nccl.all_reduce(parts)
    wait()
    if any(part[-1].item() != count for part in parts):
        raise RuntimeError("NCCL's sum is wrong")
    laps = []
    for _ in range(GROUPS):
        wait()
        began = time.perf_counter()
        nccl.all_reduce(parts)
        wait()
        laps.append(time.perf_counter() - began)
    return {"all_reduce_gbs": 2 * (count - 1) / count * REDUCED / statistics.median(laps) / 1e9}


def telemetry(index):
    """Return clocks, power limit and temperature by NVML; nothing of what it does not say."""
    uuids = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return {}
    handle = ctypes.c_void_p()
    if index >= len(uuids) or nvml.nvmlInit_v2():
        return {}
    if nvml.nvmlDeviceGetHandleByUUID(uuids[index].encode(), ctypes.byref(handle)):
        return {}

    def ask(name, *arguments):
        value = ctypes.c_uint()
        failed = getattr(nvml, name)(handle, *arguments, ctypes.byref(value))
        return None if failed else value.value

    milliwatts = ask("nvmlDeviceGetEnforcedPowerLimit")
    found = {
        "sm_clock_mhz": ask("nvmlDeviceGetClockInfo", SM_CLOCK),
        "sm_clock_max_mhz": ask("nvmlDeviceGetMaxClockInfo", SM_CLOCK),
        "memory_clock_mhz": ask("nvmlDeviceGetClockInfo", MEMORY_CLOCK),
        "temperature_c": ask("nvmlDeviceGetTemperature", 0),
        "power_limit_w": None if milliwatts is None else milliwatts / 1000,
    }
    return {name: value for name, value in found.items() if value is not None}


def one_gpu(index):
    """Return the figures of one GPU."""
    with torch.cuda.device(index):
        figures = matmul(index) | bandwidth()
        figures["multiprocessors"] = torch.cuda.get_device_properties(index).multi_processor_count
        torch.cuda.empty_cache()
    return {f"gpu{index}.{name}": value for name, value in figures.items()}


def main():
    """Measure every GPU that is visible, then all together."""
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no figure
    count = torch.cuda.device_count()
    if not count:
        raise RuntimeError("no GPU is visible")
    figures = {}
    for index in range(count):
        figures |= one_gpu(index)
    if count > 1:
        try:
            figures |= all_reduce(count)
        except Exception as e:  # a run need not sum from one process
            print(f"all_reduce: {type(e).__name__}: {e}", file=sys.stderr)
    figures["seconds"] = time.monotonic() - BEGAN
    report.write(json.dumps({name: round(value, 3) for name, value in sorted(figures.items())}) + "\n")
    report.flush()


if __name__ == "__main__":
    try:
        main()
    except Exception as e:  # the host needs one line, whatever it was
        words = str(e).strip().splitlines() or ["no word"]
        print(f"{type(e).__name__}: {words[0]}", file=sys.stderr)
        sys.exit(1)
