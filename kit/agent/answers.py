"""The scripted answers that the package ships for the smoke tasks; not a model."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from kit.agent.llm.scripted import AnswerScript, load_script

FILE = "scripted-answers-not-a-model.toml"


def packaged_answers() -> AnswerScript:
    """Return the answers of the package: edits of the smoke tasks' scripts, good and bad ones."""
    with resources.as_file(resources.files("kit.agent").joinpath("scripts", FILE)) as path:
        return load_script(Path(path))
