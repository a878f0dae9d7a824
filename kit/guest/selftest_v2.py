"""
The self-test of an image that brings FlashAttention-3 and a tokenizer to the records' scripts.

    python3 selftest_v2.py          the lines of selftest.py, which lies beside it, and one for each of MORE

Attention is traced as the records compile it: in one graph, forward and backward. On a GPU, its numbers are
compared with attention in float64 as well.
"""

import functools
import itertools
import math

import selftest

TOLERANCE = 0.01
"""Norm of the difference over norm of the reference; in bfloat16, 0.002 to 0.003 is usual."""
CASES = (
    (1024, 128, (0, 100, 300, 301, 700, 1024)),
    (2048, 384, (0, 2048)),
    (1536, 896, (0, 0, 640, 640, 1535, 1536)),
)
"""Tokens, window to the left, and the starts of documents, some of them empty."""
HEADS, SIZE, SCALE = 6, 128, 0.1
GPT2 = {"Hello world": [15496, 995], " speedrun": [2866, 5143], "naïve 3.28": [2616, 38776, 513, 13, 2078]}
CALLS = (
    ("varunneal/flash-attention-3", {}),
    ("varunneal/flash-attention-3", {"trust_remote_code": True}),
    ("kernels-community/flash-attn3", {}),
    ("kernels-community/flash-attn3", {"version": 1}),
)
"""Every form in which records 38 to 89 ask for the kernel."""


def attention_graph():
    """The modules: every call of the records finds the library, and one graph a direction holds it."""
    import torch
    from torch._dynamo.backends.common import aot_autograd

    given = kernel()
    graphs = []

    def keep(module, inputs):
        """Keep the graph; run nothing, because there may be no GPU."""
        graphs.append([str(node.target) for node in module.graph.nodes if node.op == "call_function"])
        outs = [None if node is None else node.meta["val"] for node in module.graph.output_node().args[0]]

        def run(arguments):
            arguments.clear()
            return [blank(x) if isinstance(x, torch.Tensor) else x for x in outs]

        run._boxed_call = True
        return run

    def blank(x):
        return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype).zero_()

    def attend(x, lengths, window):
        q, k, v = x.view(1, -1, 3 * HEADS, SIZE).chunk(3, dim=-2)
        k = torch.nn.functional.rms_norm(k, (SIZE,))
        k[:, 1:, :, SIZE // 2 :] = k[:, :-1, :, SIZE // 2 :]
        return call(given, lengths, 64, window, q[0], k[0], v[0]).view(1, -1, HEADS, SIZE)

    compiled = torch.compile(
        attend, dynamic=False, fullgraph=True, backend=aot_autograd(fw_compiler=keep, bw_compiler=keep)
    )
    x = torch.zeros(128, 3 * HEADS * SIZE, dtype=torch.bfloat16, requires_grad=True)
    y = compiled(x, torch.tensor([0, 64, 128], dtype=torch.int32), 32)
    y.sum().backward()
    assert (y.shape, x.grad.shape) == ((1, 128, HEADS, SIZE), x.shape), (y.shape, x.grad.shape)
    ours = [[name for name in graph if name.startswith("speedrun_kit.")] for graph in graphs]
    expected = ["flash_attention_3", "flash_attention_3_backward"]
    assert ours == [[f"speedrun_kit.{name}.default"] for name in expected], ours
    return f"{len(CALLS)} forms of get_kernel, 1 graph forward and 1 backward", {}


def tokenizer():
    """The encoding of the records: from the image's files, without a network."""
    import tiktoken

    encoding = tiktoken.get_encoding("gpt2")
    found = {text: encoding.encode(text) for text in GPT2}
    assert found == GPT2, found
    assert all(encoding.decode(tokens) == text for text, tokens in found.items()), found
    ranks = len(encoding._mergeable_ranks)
    assert (encoding.n_vocab, ranks) == (50257, 50256), (encoding.n_vocab, ranks)
    return f"gpt2 has {encoding.n_vocab} tokens", {}


def attention_kernels():
    """The library on the GPU: output and gradients agree with attention in float64, eager and compiled."""
    selftest.visible_gpus()
    import torch

    given = kernel()
    compiled = torch.compile(call, dynamic=False, fullgraph=True)
    worst = 0.0
    for tokens, window, starts in CASES:
        torch.manual_seed(tokens)
        values = [torch.randn(tokens, HEADS, SIZE, device="cuda").bfloat16() for _ in range(4)]
        lengths = torch.tensor(starts, dtype=torch.int32, device="cuda")
        longest = max(b - a for a, b in itertools.pairwise(starts))
        exact = differentiated(functools.partial(reference, starts, window), values, torch.float64)
        for function in (call, compiled):
            found = differentiated(functools.partial(function, given, lengths, longest, window), values)
            for name, a, b in zip(("out", "dq", "dk", "dv"), found, exact, strict=True):
                error = ((a.double() - b).norm() / b.norm()).item()
                assert error < TOLERANCE, (
                    f"{name} differs by {error:.4f} with {tokens} tokens, window {window}"
                )
                worst = max(worst, error)
    return f"{len(CASES)} cases agree with float64 to {worst:.4f} on {torch.cuda.get_device_name()}", {}


# -------------------------------------------------------------------------------------------------- pieces


def kernel():
    """Return the interface, which every form of the records' call must give."""
    import flash_attn_interface
    from kernels import get_kernel

    for repository, more in CALLS:
        found = get_kernel(repository, **more).flash_attn_interface
        assert found is flash_attn_interface, (repository, more)
    return flash_attn_interface


def call(given, lengths, longest, window, q, k, v):
    """Call attention as records 38 to 89 do."""
    return given.flash_attn_varlen_func(
        q, k, v, cu_seqlens_q=lengths, cu_seqlens_k=lengths, max_seqlen_q=longest, max_seqlen_k=longest,
        causal=True, softmax_scale=SCALE, window_size=(window, 0),
    )  # fmt: skip


def differentiated(attend, values, dtype=None):
    """Return the output for the first three values, and their gradients for the fourth as its gradient."""
    inputs = [x.detach().to(dtype or x.dtype).requires_grad_() for x in values[:3]]
    out = attend(*inputs)
    out.backward(values[3].to(out.dtype))
    return [out.detach(), *(x.grad for x in inputs)]


def reference(starts, window, q, k, v):
    """Attention as defined: each token sees itself and at most `window` tokens before it, in its document."""
    import torch

    at = torch.arange(len(q), device=q.device)
    document = torch.bucketize(at, torch.tensor(starts, device=q.device), right=True)
    back = at[:, None] - at[None, :]
    seen = (back >= 0) & (back <= window) & (document[:, None] == document[None, :])
    scores = torch.einsum("qhd,khd->hqk", q, k) * SCALE
    return torch.einsum("hqk,khd->qhd", scores.masked_fill(~seen, -math.inf).softmax(-1), v)


MORE = (attention_graph, tokenizer, attention_kernels)

if __name__ == "__main__":
    selftest.CHECKS += MORE
    selftest.main()
