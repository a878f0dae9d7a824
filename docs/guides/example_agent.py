"""
A small agent without the command line: it asks, edits, evaluates, reads the feedback and asks again.

    python docs/guides/example_agent.py agent-runs/example

`ask` stands for your model: replace it by a call of any model, tool or person. As it is, it gives two fixed
answers. The first one crashes, and the second one corrects it. Run it again to resume an interrupted run.
"""

import sys
from pathlib import Path

from kit.agent import api

RULES = """Give the edit as blocks, each for one place of train_gpt2.py that occurs once:
train_gpt2.py
<<<<<<< SEARCH
the lines to replace
=======
the new lines
>>>>>>> REPLACE
"""
EDIT = """train_gpt2.py
<<<<<<< SEARCH
        scores = (q[:, :, :, None] * k[:, :, None]).sum(-1) / math.sqrt(q.size(-1))
=======
        scores = {} / math.sqrt(q.size(-1))
>>>>>>> REPLACE
"""


def ask(question: str) -> str:
    """Answer a question about the script with edits."""
    return EDIT.format("q @ k.mT" if "The script crashed" in question else "q @ k")


def question(task: api.OwnTask, script: bytes, feedback: str) -> str:
    """Return what the model sees: the task with its hints, the script, and what the host says about it."""
    return "\n\n".join((task.briefing, script.decode(), feedback, RULES))


def run(folder: Path, task: api.OwnTask, nodes: int = 2) -> api.Tree:
    """Evaluate up to `nodes` scripts: start from the best, or correct the last one if it failed."""
    with api.open_run(folder, task, "example 1", api.parse_budget(f"evaluations={nodes}")) as search:
        while len(search.tree.nodes) < nodes:
            last = search.tree.nodes[-1] if search.tree.nodes else None
            failed = last is not None and last.status is not None and last.status.buggy
            feedback = search.feedback(last) if last and failed else ""
            before = search.files(search.tree.best())
            answer = api.apply_answer(before, ask(question(task, before["train_gpt2.py"], feedback)))
            if answer.applied is None:
                sys.exit(f"the answer is no edit: {answer.reason}")
            node = search.evaluate(answer.applied, search.tree.best())
            print(f"node {node.id}: {node.status}: {node.reason}")
        search.end()
        return search.tree


if __name__ == "__main__":
    best = run(Path(sys.argv[1]), api.load_task("smoke-3", hints=(1,))).best()
    print(f"best: node {best}" if best else "best: the start script")
