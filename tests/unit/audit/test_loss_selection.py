"""A mean that leaves some losses out, or bounds them, is told by the words for it."""

from __future__ import annotations

import pytest

from kit.audit import source
from kit.audit.finding import Outcome
from kit.audit.source import SourceFile

START = "import torch.nn.functional as F\ndef f(x, y):\n    return F.cross_entropy(x, y, ignore_index=-1)\n"

PICKS = (
    "losses.sort().values[:100].mean()",
    "torch.topk(losses, 5)",
    "torch.minimum(val_loss, torch.tensor(3.0))",
    "loss.clamp_max(12.0)",
    "losses[losses < 9].mean()",
    "per_token[nll < limit]",
    "torch.where(loss > 9, 9, loss)",
    "min(loss, best)",
    "sorted(losses)[:10]",
    "F.cross_entropy(x, y, reduction='none')",
    "F.cross_entropy(x, y, reduction=how)",
    "F.nll_loss(x, y, weight=w)",
    "nn.CrossEntropyLoss(label_smoothing=0.1)",
    "F.log_softmax(x, -1).gather(-1, y).quantile(0.99)",
    "F.cross_entropy(x, y, w)",
    "F.cross_entropy(*[x, y, w])",
    "F.cross_entropy(x, y, **{'ignore_index': 3})",
    "nn.CrossEntropyLoss(w)",
    "ce = F.cross_entropy\nce(x, y, w)",
    "from torch.nn.functional import cross_entropy as ce\nce(x, y, ignore_index=3)",
    "import functools\nfunctools.partial(F.cross_entropy, ignore_index=3)(x, y)",
    "from functools import partial as p\np(F.nll_loss, weight=w)(x, y)",
)
PLAIN = (
    "x.sort().values",
    "torch.where(mask, x, y)",
    "scale.clamp_max(1.0)",
    "min(step, warmup)",
    "x[x > 0]",
    "losses[0]",
    "loss.mean()",
    "torch.stack(losses).sum()",
    "F.cross_entropy(x, y, reduction='sum')",
    "F.cross_entropy(x, y, reduction='mean')",
    "F.cross_entropy(input=x, target=y)",
    "ce = F.cross_entropy\nce(x, y)",
    "nn.CrossEntropyLoss()(x, y)",
    "dist.all_reduce(val_loss, op=dist.ReduceOp.AVG)",
)


def judged(code: str, start: str = START) -> Outcome:
    after = (SourceFile("train_gpt2.py", f"{START}{code}\n".encode()),)
    findings = source.judge(after, (SourceFile("train_gpt2.py", start.encode()),))
    return next(f.outcome for f in findings if f.id == "source.selection")


@pytest.mark.parametrize("code", PICKS)
def test_picking_among_losses_is_told(code):
    assert judged(code) is Outcome.FAILED


@pytest.mark.parametrize("code", PLAIN)
def test_what_a_script_does_with_anything_else_is_its_own_affair(code):
    assert judged(code) is Outcome.PASSED


def test_what_the_start_script_did_already_may_go_on():
    assert judged("") is Outcome.PASSED
    assert judged(PICKS[0], f"{START}{PICKS[0]}\n") is Outcome.PASSED
