"""Probes match what a script does, however it is spelled, and nothing that has no effect."""

from __future__ import annotations

import textwrap

import pytest

from kit.core.errors import SchemaError
from kit.judge import match
from kit.judge.match import Matcher
from kit.judge.probe import holds, parse_pattern, probe_of
from kit.judge.program import read_program
from kit.judge.source import normalise


def script(text: str, *args: str) -> Matcher:
    return Matcher(read_program(normalise({"train_gpt2.py": textwrap.dedent(text).encode()}, args)))


def is_in(probe: object, text: str, start: str = "") -> bool:
    return holds(
        probe_of(probe if isinstance(probe, dict) else {"pattern": probe}, "test"),
        script(text),
        script(start),
    )


@pytest.mark.parametrize(
    "spelling",
    [
        "y = F.relu(x).square()",
        "y = torch.relu(x) ** 2",
        "y = torch.square(x.relu())",
        "y = torch.pow(F.relu(x), 2)",
        "h = F.relu(x)\ny = h ** 2",
        "def act(t):\n    return F.relu(t)\ny = act(x).pow(2)",
        "from torch.nn.functional import relu as f\ny = f(x) ** (4 // 2)",
        "h = F.relu(x)\ny = h * h",
        "y = x.clamp(min=0) ** 2",
        "y = torch.clamp_min(x, 0).square()",
        "class M:\n    def __init__(self):\n        self.a = torch.nn.ReLU()\n"
        "    def forward(self, x):\n        return self.a(x) ** 2\nM()",
    ],
)
def test_one_pattern_matches_equivalent_spellings(spelling):
    assert is_in("relu($X) ** 2", f"import torch\nimport torch.nn.functional as F\n{spelling}\n")


@pytest.mark.parametrize(
    "other",
    [
        "y = F.relu(x) ** 3",
        "y = F.clamp(x, min=0, max=1) ** 2",
        "y = F.clamp(x, 1) ** 2",
        "y = F.gelu(x).square()",
        "y = F.relu(x ** 2)",
    ],
)
def test_a_pattern_does_not_match_what_computes_something_else(other):
    assert not is_in("relu($X) ** 2", f"import torch.nn.functional as F\n{other}\n")


@pytest.mark.parametrize(
    ("text", "cap"),
    [
        ("y = 15 * torch.tanh(x / 15)", 15),
        ("c = 15\ny = torch.tanh(x / c) * c", 15),
        ("class H:\n    cap: int = 60 // 4\nh = H()\ny = h.cap * (x / h.cap).tanh()", 15),
        ("def capped(z, c):\n    return c * torch.tanh(z / c)\ny = capped(x, 15.0)", 15),
    ],
)
def test_a_metavariable_stands_for_the_same_everywhere_and_may_be_a_number(text, cap):
    probe = {"pattern": "$A * tanh($B / $A)", "where": {"A": {"equals": cap}}}
    assert is_in(probe, "import torch\n" + text)
    assert not is_in(probe, "import torch\n" + text.replace("15", "30").replace("60", "120"))
    assert not is_in("$A * tanh($B / $A)", "import torch\ny = 15 * torch.tanh(x / 30)")


def test_operands_have_no_order_and_the_last_metavariable_takes_the_rest():
    assert is_in("(1 - $F) * $A + $F * $B", "m = t * 0.95 + 0.85 * (1 - t)")
    assert is_in("max($A + 1, $B)", "m = max(1 + x + y, 3)")
    assert not is_in("(1 - $F) * $A + $F * $B", "m = t * 0.95 + 0.85 * (1 - s)")
    assert is_in("$Q - $K < $W", "ok = w > q - k") and is_in("$Q - $K < $W", "ok = not q - k >= w")
    assert is_in("$X + $A * $Y", "import torch\nx = torch.addcmul(x, a, y)")
    assert is_in("$X + 0.5 * $A * $Y", "import torch\nx = torch.addcmul(x, a, y, value=0.5)")
    assert not is_in("$X + $A * $Y", "import torch\nx = torch.addcdiv(x, a, y)")


def test_an_attribute_is_the_same_in_a_helper_that_gets_the_object():
    pattern = {"pattern": ["$L[0] * $X + $L[1] * $Y", "$L = torch.nn.Parameter(...)"]}
    init = "class B:\n    def __init__(self):\n        self.l = torch.nn.Parameter(o)\n        self.m = 1\n"
    direct = "    def forward(self, x, z):\n        return self.l[0] * x + self.l[1] * z\nB()"
    helped = "    def forward(this, x, z):\n        return mix(z, this, x)\nB()\n"
    helper = "def mix(a, b, c):\n    return c * b.l[0] + a * b.l[1]\n"
    assert is_in(pattern, init + direct) and is_in(pattern, helper + init + helped)
    assert not is_in(pattern, init + direct.replace("self.l", "self.m"))
    assert is_in("max(1, $A / $B) ** 0.5", "import math\ns = math.sqrt(max(a / b, 1))")


def test_numbers_come_from_constants_attributes_dataclasses_parameters_and_arguments():
    probe = {"pattern": "range($N)", "where": {"N": {"equals": 7}}}
    assert is_in(probe, "n = 6\nfor i in range(n + 1): pass")
    assert is_in(probe, "class H:\n    steps: int = 6\nh = H()\nfor i in range(h.steps + 1): pass")
    assert is_in(probe, "class H:\n    steps: int = 1\nh = H(steps=7)\nfor i in range(0, h.steps): pass")
    assert is_in(
        probe, "class M:\n    def __init__(self, n):\n        self.n = n\n        print(range(self.n))\nM(7)"
    )
    options = 'p.add_argument("--steps", default=3)\na = p.parse_args()\nr = range(a.steps)'
    assert holds(probe_of(probe, "test"), script(options, "--steps", "7"), script(""))
    assert not holds(probe_of(probe, "test"), script(options), script(""))


def test_the_start_script_gives_bounds_and_counts():
    fewer = {"pattern": "range($N)", "where": {"N": {"least": 500, "below": "start"}}}
    start = "for s in range(1000 + 1): pass\nfor i in range(5): pass"
    assert is_in(fewer, "for s in range(900): pass", start)
    assert not is_in(fewer, "for s in range(1001): pass\nfor i in range(4): pass", start)
    assert not is_in(fewer, "for s in range(900): pass")
    more = {"call": "torch.nn.Embedding", "times": {"above": "start"}}
    one, two = "import torch.nn as nn\na = nn.Embedding(5, 6)\n", "b = nn.Embedding(5, 6)\n"
    assert is_in(more, one + two, one) and not is_in(more, one, one)
    assert is_in({"new": {"constant": 65536}}, "n = 64 * 1024", "n = 1024")
    assert is_in({"constant": 65536}, "n = 1 << 16") and not is_in({"constant": 65536}, "n = 1 << 15")
    assert is_in({"gone": {"pattern": "$A.weight = $B.weight"}}, "x = 1", "a.weight = b.weight")


def test_a_class_counts_as_its_base_however_it_is_called():
    text = "import torch\nclass Zed(torch.optim.Optimizer):\n    def step(self): pass\no = Zed(ps, lr=0.02)\n"
    assert is_in({"subclass_of": "torch.optim.Optimizer"}, text)
    probe = {"call": "torch.optim.Optimizer", "keywords": {"lr": "$L"}, "where": {"L": {"most": 0.03}}}
    assert is_in(probe, text) and not is_in(probe, text.replace("0.02", "0.2"))


def test_a_compiled_function_is_the_function():
    call = {"call": "flex_attention"}
    head = "import torch\nfrom torch.nn.attention.flex_attention import flex_attention\n"
    assert is_in(call, head + "flex_attention = torch.compile(flex_attention)\ny = flex_attention(q, k, v)")
    assert is_in(call, head + "fast = torch.compile(flex_attention, dynamic=False)\ny = fast(q, k, v)")
    assert not is_in(call, head + "x = 1")


@pytest.mark.parametrize(
    "idle",
    [
        "# relu(x) ** 2",
        '"relu(x) ** 2"',
        'def f():\n    """relu(x) ** 2"""\nf()',
        "def unused(x):\n    return relu(x) ** 2",
        "def unused(x):\n    return helper(x)\ndef helper(x):\n    return relu(x) ** 2",
        "if False:\n    y = relu(x) ** 2",
        "def f(x):\n    return x\n    return relu(x) ** 2\nf(1)",
        "def f(x: relu(1) ** 2) -> relu(1) ** 2:\n    return x\nf(1)",
    ],
)
def test_what_has_no_effect_counts_for_nothing(idle):
    assert not is_in("relu($X) ** 2", idle)


def test_a_pattern_that_is_not_python_is_refused_with_its_place():
    with pytest.raises(SchemaError, match=r"item x: not a pattern: 'relu\(\$X'"):
        parse_pattern("relu($X", "item x")
    with pytest.raises(SchemaError, match="not a pattern"):
        parse_pattern("for $X in y: pass", "item x")
    with pytest.raises(SchemaError, match=r"no pattern has the metavariable \$B"):
        probe_of({"pattern": "$A + 1", "where": {"B": {"equals": 1}}}, "item x")


def test_a_script_with_endless_alternatives_ends_in_an_error(monkeypatch):
    monkeypatch.setattr(match, "MAX_STEPS", 20_000)
    names = [f"v{i}" for i in range(8)]
    text = "\n".join(f"{a} = exp({b})" for a in names for b in names)
    with pytest.raises(SchemaError, match="too complex to judge"):
        is_in("exp(exp($A)) * exp(exp($B)) * exp(exp($C)) * sin($D)", f"{text}\ny = {' * '.join(names)}")


def test_a_slice_with_a_step_is_not_one_with_an_end():
    assert is_in("$V[::-1]", "r = v[::-1]\n")
    assert not is_in("$V[::-1]", "r = v[:-1]\n")
    assert not is_in("$V[::-1]", "r = v[-1:]\n")
    assert is_in("$P[$R::$W]", "own = params[rank::world]\n")


def test_a_generator_is_a_list_that_is_not_stored():
    probe = "[torch.nn.Embedding(...) for $_ in $I]"
    assert is_in(probe, "import torch\nm = f(torch.nn.Embedding(8, 4) for _ in range(6))\n")


def test_a_key_of_a_dictionary_is_what_the_dictionary_holds():
    text = "defaults = dict(lr=lr, {name}=0.95)\nfor group in groups:\n    g = g + group['{name}'] * past\n"
    probe = {"pattern": "$G + $M * $B", "where": {"M": {"least": 0.9, "below": 1}}}
    assert is_in(probe, text.format(name="momentum"))
    assert is_in(probe, text.format(name="beta"))
    assert not is_in(probe, text.format(name="beta").replace("group['beta']", "group['lr']"))
