"""What a model is asked about a script: fixed instructions, the items in a shuffled order, both scripts."""

from __future__ import annotations

import random
from importlib import resources

from kit.agent.llm.wire import ChatRole, Message
from kit.core.digest import Sha256, canonical_json, sha256_bytes
from kit.judge.rubric import Rubric

PROMPTS = ("system.md", "task.md")


def judge_messages(rubric: Rubric, shown: str, start: str, seed: int) -> tuple[Message, ...]:
    """Return the messages of one sample; `seed` decides the order of the items."""
    items = list(rubric.items)
    random.Random(seed).shuffle(items)  # noqa: S311 - an order that can be repeated
    listed = "\n".join(f"- {item.id}: {item.text}" for item in items)
    head, _, tail = prompt_text("task.md").replace("{items}", listed).partition("{start}")
    task = f"{head}{start}{tail.replace('{script}', shown)}"
    return Message(ChatRole.SYSTEM, prompt_text("system.md")), Message(ChatRole.USER, task)


def judge_prompts_sha256() -> Sha256:
    """Return the sha256 of the fixed parts of the prompts."""
    return sha256_bytes(canonical_json({name: prompt_text(name) for name in PROMPTS}))


def prompt_text(name: str) -> str:
    """Return a text of `kit/judge/prompts/`, without the blank lines around it."""
    return resources.files("kit.judge").joinpath("prompts", name).read_text(encoding="utf-8").strip()
