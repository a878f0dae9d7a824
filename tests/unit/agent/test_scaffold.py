"""The scaffolds' decisions on hand-drawn trees, and what holds for every search."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from fake_search import make_spec, outcome
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.agent.events import Decided, EvaluationEnded, Event, NodeEnded, NodeReserved, RunStarted
from kit.agent.node import Action, ActionKind, EvaluationStatus, NodeStatus
from kit.agent.policy import POLICIES, Policy, SearchFidelity
from kit.agent.scaffold import bug_history, decision_rng, next_actions
from kit.agent.spec import spec_sha256
from kit.agent.tree import START, Tree, fold
from kit.core.errors import IntegrityError

KINDS = {k.value: k for k in ActionKind}
FAILURES = {
    "crash": NodeStatus.BUGGY_CRASH,
    "loss": NodeStatus.BUGGY_LOSS,
    "late": NodeStatus.TIMED_OUT,
    "audit": NodeStatus.AUDIT_FAILED,
    "noedit": NodeStatus.EDIT_FAILED,
    "silent": NodeStatus.NO_ANSWER,
    "infra": NodeStatus.INFRA_FAILED,
    "lost": NodeStatus.LOST,
}
START_MS = 1000.0


def drawn(picture: str) -> Tree:
    """
    Return the tree of a picture: one line a decision, in it `KIND PARENT RESULT` for each of its nodes.

    RESULT is a time in milliseconds or a key of `FAILURES`. The start takes 1,000 ms.
    """
    spec = make_spec()
    events: list[Event] = [RunStarted(spec, spec_sha256(spec))]
    number = 0
    for decision, line in enumerate(filter(None, map(str.strip, picture.splitlines()))):
        parts = [part.split() for part in line.split(",")]
        actions = tuple(Action(KINDS[kind], int(parent)) for kind, parent, _ in parts)
        events.append(Decided(decision, actions))
        for action, (_, _, result) in zip(actions, parts, strict=True):
            number += 1
            events += node_events(number, action, result)
    return fold(events)


def node_events(number: int, action: Action, result: str) -> list[Event]:
    """Return the events of one node."""
    reserved = NodeReserved(number, action)
    if result in FAILURES:
        ended = outcome(f"run-{number}", EvaluationStatus.MISSED, None)
        return [reserved, EvaluationEnded(number, ended), NodeEnded(number, FAILURES[result], "", None, None)]
    ended = outcome(f"run-{number}", EvaluationStatus.REACHED, float(result))
    return [
        reserved,
        EvaluationEnded(number, ended),
        NodeEnded(number, NodeStatus.VALID_IMPROVED, "", None, None),
    ]


class Fixed(random.Random):
    """Random numbers that are not."""

    def __init__(self, number: float) -> None:
        super().__init__(0)
        self.number = number

    def random(self) -> float:
        return self.number


IMPROVES, DEBUGS = Fixed(0.5), Fixed(0.49)
DRAFTS = "draft 0 900, draft 0 crash, draft 0 800"


NINETEEN = "draft 0 900 \n" + "improve 1 950, improve 1 950, improve 1 950 \n" * 6


def decided(scaffold: str, picture: str, rng: random.Random = IMPROVES) -> list[tuple[str, int]]:
    return [(a.kind.value, a.parent) for a in next_actions(drawn(picture), rng, POLICIES[scaffold])]


def test_the_parameters_are_the_papers() -> None:
    assert {
        p.name: (p.initial, p.branch, p.debug_prob, p.max_bug_depth, p.max_nodes) for p in POLICIES.values()
    } == {
        "flat": (20, 0, 0.0, 0, 20),
        "tree": (1, 3, 0.0, 0, 20),
        "forest": (3, 3, 0.0, 0, 20),
        "aide": (3, 1, 0.5, 5, 20),
        "multi-aide": (3, 3, 0.5, 5, 20),
    }


@pytest.mark.parametrize(
    ("scaffold", "picture", "expected"),
    [
        ("flat", "", [("draft", 0)] * 20),
        ("flat", ",".join(["draft 0 900"] * 20), []),
        ("tree", "", [("draft", 0)]),
        ("tree", "draft 0 900", [("improve", 1)] * 3),
        ("tree", "draft 0 crash", [("draft", 0)] * 3),
        ("tree", "draft 0 1001", [("draft", 0)] * 3),
        ("tree", "draft 0 1000", [("draft", 0)] * 3),
        ("tree", "draft 0 900 \n improve 1 950, improve 1 crash, improve 1 880", [("improve", 4)] * 3),
        ("tree", "draft 0 900 \n improve 1 900, improve 1 crash, improve 1 900", [("improve", 1)] * 3),
        ("forest", "", [("draft", 0)] * 3),
        ("forest", DRAFTS, [("improve", 3)] * 3),
        ("aide", "", [("draft", 0)] * 3),
        ("aide", DRAFTS, [("improve", 3)]),
        ("multi-aide", "", [("draft", 0)] * 3),
        ("multi-aide", DRAFTS, [("improve", 3)] * 3),
        ("tree", "control 0 990", [("draft", 0)]),
        ("tree", "control 0 100 \n draft 0 900", [("improve", 2)] * 3),
        ("tree", NINETEEN, [("improve", 1)]),
        ("tree", f"{NINETEEN} improve 1 950", []),
    ],
)  # fmt: skip
def test_hand_drawn_trees(scaffold: str, picture: str, expected: list[tuple[str, int]]) -> None:
    assert decided(scaffold, picture) == expected


@pytest.mark.parametrize("scaffold", ["aide", "multi-aide"])
@pytest.mark.parametrize(
    ("picture", "leaf"),
    [
        (DRAFTS, 2),
        ("draft 0 loss", 1),
        ("draft 0 late", 1),
        ("draft 0 audit", 1),
        ("draft 0 crash \n debug 1 crash", 2),
        ("draft 0 crash \n debug 1 noedit", 1),
        ("draft 0 crash \n debug 1 silent", 1),
        ("draft 0 crash \n debug 1 infra", 1),
        ("draft 0 crash \n debug 1 lost", 1),
        ("draft 0 crash \n debug 1 crash \n debug 2 crash \n debug 3 crash \n debug 4 crash", 5),
        ("draft 0 900 \n improve 1 crash", 2),
    ],
)
def test_one_child_of_a_buggy_leaf(scaffold: str, picture: str, leaf: int) -> None:
    assert decided(scaffold, picture, DEBUGS) == [("debug", leaf)]


FIVE_DEBUGS = (
    "draft 0 crash \n debug 1 crash \n debug 2 crash \n debug 3 crash \n debug 4 crash \n debug 5 crash"
)


@pytest.mark.parametrize(
    "picture",
    [
        "draft 0 900",
        "draft 0 noedit",
        "draft 0 silent",
        "draft 0 infra",
        "draft 0 lost",
        "draft 0 crash \n debug 1 1100",
        FIVE_DEBUGS,
    ],
)
def test_nothing_to_debug(picture: str) -> None:
    assert [kind for kind, _ in decided("aide", picture, DEBUGS)] != ["debug"]


def test_scaffolds_without_debugging_never_debug() -> None:
    assert decided("forest", "draft 0 crash, draft 0 crash, draft 0 crash", Fixed(0.0)) == [("draft", 0)] * 3


FORGOTTEN = "draft 0 900, draft 0 crash, draft 0 700 \n improve 3 650 \n debug 2 800"
"""Node 4 is the best; the last step debugged node 2, with node 5 as its child."""


def test_paper_keeps_the_best_node_and_released_forgets_it_after_a_debug_step() -> None:
    tree = drawn(FORGOTTEN)
    paper = next_actions(tree, IMPROVES, POLICIES["aide"], SearchFidelity.PAPER)
    released = next_actions(tree, IMPROVES, POLICIES["aide"], SearchFidelity.RELEASED)
    assert paper == (Action(ActionKind.IMPROVE, 4),)
    assert released == (Action(ActionKind.IMPROVE, 5),)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (f"{DRAFTS} \n improve 3 650 \n debug 2 crash", Action(ActionKind.DRAFT, 0)),
        ("draft 0 900, draft 0 crash, draft 0 700 \n improve 3 750", Action(ActionKind.IMPROVE, 3)),
        ("draft 0 900, draft 0 900, draft 0 901", Action(ActionKind.IMPROVE, 2)),
        ("draft 0 700 \n improve 1 crash \n debug 2 1200", Action(ActionKind.DRAFT, 0)),
    ],
)  # fmt: skip
def test_released_looks_at_the_start_the_last_parent_and_its_new_children(
    picture: str, expected: Action
) -> None:
    assert next_actions(drawn(picture), IMPROVES, POLICIES["aide"], SearchFidelity.RELEASED) == (expected,)


HISTORY = "draft 0 900, draft 0 crash, draft 0 crash \n improve 1 crash, improve 1 loss \n debug 4 crash"


def test_history_is_the_parents_in_paper_and_the_starts_in_released() -> None:
    tree = drawn(HISTORY)
    for parent in (1, 4, 6):
        assert [n.id for n in bug_history(tree, parent, SearchFidelity.PAPER)] == [4, 5, 6]
    assert [n.id for n in bug_history(tree, 3, SearchFidelity.PAPER)] == [4, 5, 6]
    deep = drawn(HISTORY + "\n improve 1 850 \n improve 7 840 \n improve 8 crash")
    assert [n.id for n in bug_history(deep, 8, SearchFidelity.PAPER)] == [9]
    assert [n.id for n in bug_history(deep, 8, SearchFidelity.RELEASED)] == [4, 5, 6]


GOLDEN = 0.43895551628073126
"""Another value would let resumed runs decide differently."""


def test_decisions_draw_from_the_seed_and_their_number_alone() -> None:
    drawn_numbers = {(seed, n): decision_rng(seed, n).random() for seed in range(3) for n in range(3)}
    assert len(set(drawn_numbers.values())) == 9
    assert drawn_numbers == {(seed, n): decision_rng(seed, n).random() for seed in range(3) for n in range(3)}
    assert decision_rng(0, 1).random() == GOLDEN


def simulate(
    policy: Policy, fidelity: SearchFidelity, seed: int, result: Callable[[], str]
) -> list[tuple[Tree, tuple[Action, ...]]]:
    """Return each decision of a search with the tree that it saw."""
    spec = make_spec()
    events: list[Event] = [RunStarted(spec, spec_sha256(spec))]
    seen: list[tuple[Tree, tuple[Action, ...]]] = []
    number = 0
    while True:
        tree = fold(events)
        actions = next_actions(tree, decision_rng(seed, tree.decisions), policy, fidelity)
        seen.append((tree, actions))
        if not actions:
            return seen
        events.append(Decided(tree.decisions, actions))
        for action in actions:
            number += 1
            events += node_events(number, action, result())


RESULTS = st.sampled_from([*FAILURES, "1200", "1000", "990", "900", "850", "700", "650"])
POLICY = st.one_of(
    st.sampled_from(list(POLICIES.values())),
    st.builds(Policy, st.just("any"), st.integers(1, 6), st.integers(0, 4), st.floats(0, 1),
              st.integers(0, 3), st.integers(1, 25)),
)  # fmt: skip


@settings(max_examples=60)
@given(data=st.data(), policy=POLICY, fidelity=st.sampled_from(SearchFidelity), seed=st.integers(0, 99))
def test_every_search(data: st.DataObject, policy: Policy, fidelity: SearchFidelity, seed: int) -> None:
    steps = simulate(policy, fidelity, seed, lambda: data.draw(RESULTS))
    last = steps[-1][0]
    assert len(last.searched) == (
        min(policy.max_nodes, policy.initial) if not policy.branch else policy.max_nodes
    )
    for node in last.searched:
        debugs = 0
        while node.action.kind is ActionKind.DEBUG:
            debugs, node = debugs + 1, last.node(node.action.parent)
        assert debugs <= policy.max_bug_depth
    for tree, actions in steps[1:-1]:
        assert len(set(actions)) == 1
        (action, *_) = actions
        if action.kind is ActionKind.DEBUG:
            parent = tree.node(action.parent)
            assert len(actions) == 1 and parent.status is not None and parent.status.buggy
        elif fidelity is SearchFidelity.PAPER:
            times = [t for n in tree.searched if (t := tree.time_ms(n.id)) is not None]
            assert tree.time_ms(action.parent) == min([START_MS, *times])
            assert (action.kind is ActionKind.DRAFT) == (action.parent == START)


def test_a_journal_that_contradicts_itself_is_refused() -> None:
    draft = Action(ActionKind.DRAFT)
    spec = make_spec()
    start: list[Event] = [RunStarted(spec, spec_sha256(spec)), Decided(0, (draft, draft))]
    ended = NodeEnded(1, NodeStatus.EDIT_FAILED, "", None, None)
    for bad in (
        [NodeReserved(2, draft)],
        [NodeReserved(1, Action(ActionKind.IMPROVE, 3))],
        [NodeReserved(1, draft), NodeReserved(2, draft)],
        [NodeEnded(1, NodeStatus.EDIT_FAILED, "", None, None)],
        [NodeReserved(1, draft), ended, ended],
        [NodeReserved(1, draft), NodeEnded(1, NodeStatus.VALID_IMPROVED, "", None, None)],
    ):
        with pytest.raises(IntegrityError):
            fold([*start, *bad])
