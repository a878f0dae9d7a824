"""
The self-test of an image whose cuDNN has to be told where NVRTC is, the compiler of its attention kernels.

    python3 selftest_cudnn.py       the lines of selftest.py, which lies beside it, and one for each of CUDNN

It takes two functions from selftest_v2.py, which lies there too, and makes none of its checks.
"""

import ctypes

import selftest
from selftest_v2 import TOLERANCE, differentiated

SHAPE = (2, 1024, 6, 128)
"""Sequences, tokens, heads and their size; records 7 to 11 have 64 sequences."""
SOURCE = b'extern "C" __global__ void twice(float *x) { x[threadIdx.x] *= 2; }'
TARGET = b"--gpu-architecture=compute_90"


def cudnn_compiler():
    """NVRTC: the loader finds it by the name that cuDNN asks for, and it compiles for a GPU not here."""
    import torch

    name = f"libnvrtc.so.{torch.version.cuda.split('.')[0]}"
    library, program, size = ctypes.CDLL(name), ctypes.c_void_p(), ctypes.c_size_t()
    steps = (
        ("nvrtcCreateProgram", ctypes.byref(program), SOURCE, b"twice.cu", 0, None, None),
        ("nvrtcCompileProgram", program, 1, (ctypes.c_char_p * 1)(TARGET)),
        ("nvrtcGetPTXSize", program, ctypes.byref(size)),
    )
    for function, *arguments in steps:
        code = getattr(library, function)(*arguments)
        assert code == 0, f"{function} answers {code}"
    return f"{name} made {size.value} bytes of PTX", {}


def cudnn_attention():
    """Attention by cuDNN on the GPU: output and gradients agree with float64, in the records' layout."""
    selftest.visible_gpus()
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def attend(q, k, v):
        return torch.nn.functional.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True
        ).transpose(1, 2)

    torch.manual_seed(SHAPE[1])
    values = [torch.randn(SHAPE, device="cuda").bfloat16() for _ in range(4)]
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        found = differentiated(attend, values)
    with sdpa_kernel(SDPBackend.MATH):
        exact = differentiated(attend, values, torch.float64)
    worst = 0.0
    for name, a, b in zip(("out", "dq", "dk", "dv"), found, exact, strict=True):
        error = ((a.double() - b).norm() / b.norm()).item()
        assert error < TOLERANCE, f"{name} differs by {error:.4f}"
        worst = max(worst, error)
    return f"it agrees with float64 to {worst:.4f} on {torch.cuda.get_device_name()}", {}


CUDNN = (cudnn_compiler, cudnn_attention)

if __name__ == "__main__":
    selftest.CHECKS += CUDNN
    selftest.main()
