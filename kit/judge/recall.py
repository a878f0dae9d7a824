"""
Ask a model for a task's target script from memory, and compare its answer with the script (`RecallModel`).

A line that the target has and the start has not is a new line. The share of the new lines that an answer has,
token for token, shows memory: one's own solution rarely has the same lines. An answer without them proves
nothing, since a model can know more than it says.
"""

from __future__ import annotations

import io
import string
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kit.agent.edit.apply import apply_answer
from kit.agent.llm.profile import ModelProfile
from kit.agent.llm.wire import CallKey, CallOutcome, ChatRequest, ChatRole, Message
from kit.agent.nodefiles import Files
from kit.agent.prompt import fenced_files, prompt_set
from kit.core.errors import KitError
from kit.judge.asked import AskedModel
from kit.judge.deterministic import score_probes
from kit.judge.distance import token_distance
from kit.judge.prompt import prompt_text
from kit.judge.rubric import Rubric
from kit.judge.source import normalise

SAMPLES = 3
KNOWS, PARTLY = 0.5, 0.1
"""Shares of the new lines from which on a target counts as known, or as known in part."""
LEAST_TOKENS = 4
"""Tokens of a line that counts; shorter ones, such as `return x`, are in many scripts."""
UNKNOWN = "UNKNOWN"

_NO_CODE = frozenset(
    (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
)


class RecallVerdict(StrEnum):
    """What the answers say about the model's memory of a target."""

    KNOWS = "knows"
    PARTLY = "partly"
    NOT_SHOWN = "not_shown"
    """No answer has a tenth of the new lines. A model can know more than it says."""
    NO_ANSWER = "no_answer"
    """No call gave an answer."""


@dataclass(frozen=True, slots=True)
class RecalledScript:
    """One answer, compared with the target."""

    fault: str | None
    """Why there is no answer; None if there is one."""
    says_unknown: bool
    lines: int
    """New lines that the answer has."""
    d: float | None
    """D of the edited start script; None without an edit that applies, or without a rubric."""
    recovered: float | None
    """The distance recovered by the edited start script, in tokens; None without an edit that applies."""


@dataclass(frozen=True, slots=True)
class Recall:
    """What a model remembers of one target."""

    task: str
    new_lines: int
    samples: tuple[RecalledScript, ...]

    @property
    def share(self) -> float | None:
        """Return the largest share of the new lines in one answer; None without an answer, or new lines."""
        told = [sample.lines for sample in self.samples if sample.fault is None]
        return max(told) / self.new_lines if told and self.new_lines else None

    @property
    def verdict(self) -> RecallVerdict:
        """Return what the best answer shows."""
        share = self.share
        if share is None:
            return RecallVerdict.NO_ANSWER
        if share >= KNOWS:
            return RecallVerdict.KNOWS
        return RecallVerdict.PARTLY if share >= PARTLY else RecallVerdict.NOT_SHOWN


@dataclass(frozen=True, slots=True)
class RecallTask:
    """What a model is asked about, and what its answers are compared with."""

    name: str
    target_name: str
    start: Files
    target: Files
    entry: str
    rubric: Rubric | None
    """None: the task has none."""


@dataclass(frozen=True, slots=True)
class RecallModel(AskedModel):
    """What asks a model for a target from memory."""

    def ask(self, task: RecallTask, samples: int) -> Recall:
        """Return what the model remembers. Raises as `outcome` does."""
        request = recall_request(self.profile, task)
        outcomes = [self.outcome(CallKey(i + 1, 1), request) for i in range(samples)]
        new = new_lines(task.start, task.target)
        return Recall(task.name, len(new), tuple(compare_answer(task, outcome, new) for outcome in outcomes))


def recall_request(profile: ModelProfile, task: RecallTask) -> ChatRequest:
    """Return the request of every sample."""
    return profile.request(recall_messages(profile, task))


def recall_messages(profile: ModelProfile, task: RecallTask) -> tuple[Message, ...]:
    """Return the messages of a probe; nothing in them is of the target but its number."""
    form = prompt_set()[0][f"format-{profile.edit_format}.md"]
    text = prompt_text("recall.md").replace("{start}", task.name).replace("{target}", task.target_name)
    text = text.replace("{format}", string.Template(form).substitute(entry=task.entry))
    head, _, tail = text.partition("{files}")
    return (
        Message(ChatRole.SYSTEM, prompt_text("recall-system.md")),
        Message(ChatRole.USER, f"{head}{fenced_files(task.start)}{tail}"),
    )


def compare_answer(task: RecallTask, outcome: CallOutcome, new: frozenset[str]) -> RecalledScript:
    """Compare one answer with the target; `new` are the new lines."""
    if outcome.fault is not None or outcome.response is None:
        return RecalledScript(f"{outcome.fault or 'no answer'}: {outcome.detail}", False, 0, None, None)
    text = outcome.response.text
    says_unknown = text.strip().strip(".*`").upper() == UNKNOWN
    d, recovered = _figures(task, text)
    return RecalledScript(None, says_unknown, len(new & line_keys(text)), d, recovered)


def _figures(task: RecallTask, text: str) -> tuple[float | None, float | None]:
    """Return D and the distance recovered by the edited start script; None if the edit does not apply."""
    edited = apply_answer(task.start, text, task.entry).applied
    if edited is None:
        return None, None
    try:
        own, start, target = (normalise(files) for files in (edited, task.start, task.target))
        d = None if task.rubric is None else score_probes(task.rubric, own, start).value
        return d, token_distance(own, start, target).recovered
    except KitError:  # an answer is hostile: it can be too large or too deep to compare
        return None, None


def new_lines(start: Files, target: Files) -> frozenset[str]:
    """Return the lines of the target's code that the start has not, token by token."""
    before, after = (_all_keys(files) for files in (start, target))
    return after - before


def line_keys(text: str) -> frozenset[str]:
    """Return the lines of a text that have at least `LEAST_TOKENS` tokens, each as its tokens."""
    return frozenset(key for line in text.splitlines() if (key := _key(line)))


def _all_keys(files: Mapping[str, bytes]) -> frozenset[str]:
    texts = [data.decode("utf-8", "replace") for name, data in files.items() if name.endswith(".py")]
    return frozenset(key for text in texts for key in line_keys(text))


def _key(line: str) -> str:
    """Return a line as its tokens, without comments; empty if there are too few."""
    tokens: list[str] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(line.strip()).readline):
            if token.type == tokenize.ERRORTOKEN:
                break  # Python 3.11 would go on, in a time that is quadratic in the line's length
            if token.type not in _NO_CODE:
                tokens.append(token.string)  # what was read before an error counts
    except (tokenize.TokenError, IndentationError, SyntaxError):
        pass  # a part of a statement over several lines: what was read is compared
    return " ".join(tokens) if _enough(tokens) else ""


def _enough(tokens: Sequence[str]) -> bool:
    return len(tokens) >= LEAST_TOKENS and any(token[:1].isalpha() for token in tokens)
