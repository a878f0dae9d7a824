"""
FlashAttention-3 for the records' scripts, from a library in the image instead of a download.

The function has the name and the parameters of the package that the records import. It calls two operators of
the library, forward and backward. torch knows their shapes and their gradient from here, so that
`torch.compile(fullgraph=True)` traces them, also without a GPU.
"""

import torch
from torch import Tensor

LIBRARY = "/usr/local/lib/flash_attn_3/_C.so"

__all__ = ["flash_attn_varlen_func"]

torch.ops.load_library(LIBRARY)


def flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    *,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
) -> Tensor:
    """
    Return the attention of documents that lie one after the other in `q`, `k` and `v`.

    `q`, `k` and `v` are (tokens, heads, head size), bfloat16 or float16. Document i is the tokens from
    `cu_seqlens[i]` to `cu_seqlens[i + 1]`, int32. Each token sees `window_size[0]` tokens to its left and
    `window_size[1]` to its right; -1 means all.
    """
    scale = q.shape[-1] ** -0.5 if softmax_scale is None else softmax_scale
    lengths = (cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k)
    return _forward(q, k, v, *lengths, scale, causal, window_size[0], window_size[1])[0]


@torch.library.custom_op("speedrun_kit::flash_attention_3", mutates_args=())
def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    softmax_scale: float,
    causal: bool,
    left: int,
    right: int,
) -> tuple[Tensor, Tensor]:
    out, lse, *_ = torch.ops.flash_attn_3.fwd(
        *map(_dense, (q, k, v)),
        cu_seqlens_q=cu_seqlens_q,
        cu_seqlens_k=cu_seqlens_k,
        max_seqlen_q=max_seqlen_q,
        max_seqlen_k=max_seqlen_k,
        softmax_scale=softmax_scale,
        is_causal=causal,
        window_size_left=left,
        window_size_right=right,
        num_splits=1,  # the default of the package that the records import; 0 would be a heuristic
    )
    return out, lse


@_forward.register_fake
def _(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, softmax_scale, causal, left, right):
    tokens, heads, _ = q.shape
    return q.new_empty((tokens, heads, v.shape[-1])), q.new_empty((heads, tokens), dtype=torch.float32)


@torch.library.custom_op("speedrun_kit::flash_attention_3_backward", mutates_args=())
def _backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    softmax_scale: float,
    causal: bool,
    left: int,
    right: int,
) -> tuple[Tensor, Tensor, Tensor]:
    # made here, so that their strides are those of the fake ones: the library would copy q's, k's and v's
    dq, dk, dv = (x.new_empty(x.shape) for x in (q, k, v))
    torch.ops.flash_attn_3.bwd(
        *map(_dense, (grad, q, k, v, out)),
        lse,
        dq=dq,
        dk=dk,
        dv=dv,
        cu_seqlens_q=cu_seqlens_q,
        cu_seqlens_k=cu_seqlens_k,
        max_seqlen_q=max_seqlen_q,
        max_seqlen_k=max_seqlen_k,
        softmax_scale=softmax_scale,
        is_causal=causal,
        window_size_left=left,
        window_size_right=right,
    )
    return dq, dk, dv


@_backward.register_fake
def _(grad, q, k, v, *_):
    return tuple(x.new_empty(x.shape) for x in (q, k, v))


def _keep(ctx, inputs, output):
    q, k, v, cu_seqlens_q, cu_seqlens_k, *ctx.numbers = inputs
    ctx.save_for_backward(q, k, v, *output, cu_seqlens_q, cu_seqlens_k)
    ctx.set_materialize_grads(False)


def _gradient(ctx, grad, _):
    if grad is None:
        return (None,) * 11
    return *_backward(grad, *ctx.saved_tensors, *ctx.numbers), *(None,) * 8


_forward.register_autograd(_gradient, setup_context=_keep)


def _dense(x: Tensor) -> Tensor:
    """Return `x` with its last dimension in one piece, as the library needs it."""
    return x if x.stride(-1) == 1 else x.contiguous()
