"""Scripts of records in one image: which were written for another one, and which cannot start there."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.agent.own_task import task_for
from kit.audit.source import SourceFile
from kit.benchmark import records
from kit.core.errors import PrerequisiteError
from kit.core.facts import facts_root
from kit.core.store import Store
from kit.evaluate.image_fit import require_imports, written_for_others
from kit.evaluate.request import HOST_IMAGE, Places, Request
from kit.evaluate.start_script import RecordScript
from kit.values.profile import Profile
from kit.values.run_spec import RuntimeName
from kit.values.software import Kit


@pytest.fixture
def nowhere(tmp_path: Path) -> Places:
    """Places without any source to fetch from."""
    facts, store = facts_root(), Store(tmp_path / "store")
    kit = Kit("0", None)
    return Places(
        facts / "records", facts / "images", store, tmp_path, tmp_path / "keys", (), kit, offline=True
    )


@pytest.mark.parametrize(
    ("names", "image", "others"),
    [
        (("29", "62"), "torch-2.9.1", ["62"]),
        (("29", "62"), "torch-2.10.0", ["29"]),
        (("29", "62"), "torch-2.8.0", ["29", "62"]),
        (("46", "62"), "torch-2.10.0", []),
        (("smoke-1", "smoke-3"), "cpu", []),
        (("29", "62"), HOST_IMAGE, []),
    ],
)
def test_records_of_another_era_are_named(
    nowhere: Places, names: tuple[str, ...], image: str, others: list[str]
) -> None:
    assert [record.name for record in written_for_others(names, image, nowhere)] == others


@pytest.mark.parametrize(
    ("text", "image", "missing"),
    [
        ("import kernels\n", "torch-2.8.0", "import kernels"),
        ("import kernels\n", "torch-2.9.1", None),
        ("import tiktoken\n", "torch-2.9.1", "import tiktoken"),
        ("import tiktoken\n", "torch-2.10.0", None),
        ("import triton\n", "cpu", "import triton"),
        ("import triton\n", "torch-2.4.1", None),
        ("try:\n    import kernels\nexcept ImportError:\n    kernels = None\n", "torch-2.8.0", None),
        ("import kernels\n", HOST_IMAGE, None),
    ],
)
def test_a_script_that_lacks_a_module_is_refused(
    nowhere: Places, monkeypatch: pytest.MonkeyPatch, text: str, image: str, missing: str | None
) -> None:
    script = (SourceFile("train_gpt.py", text.encode()),)
    monkeypatch.setattr(RecordScript, "files", lambda self, places: script)
    if missing is None:
        require_imports("62", image, nowhere, "do")
        return
    with pytest.raises(
        PrerequisiteError, match=f"record 62 cannot start in the image {image}.*{missing}"
    ) as e:
        require_imports("62", image, nowhere, "do")
    assert e.value.hint == "do" and "written for torch-2.10.0" in e.value.message


def test_a_script_that_cannot_be_fetched_is_not_judged(nowhere: Places) -> None:
    require_imports("62", "torch-2.4.1", nowhere, "do")


@pytest.mark.parametrize(("image", "faults"), [("torch-2.8.0", 1), ("torch-2.10.0", 0), (None, 0)])
def test_the_check_of_a_task_knows_the_modules_of_its_image(
    nowhere: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: str | None, faults: int
) -> None:
    script = tmp_path / "script"
    script.mkdir()
    (script / "train_gpt.py").write_text("import kernels\n")
    monkeypatch.setattr(records, "fetch_script", lambda *arguments: script)
    request = Request("46", Profile.FULL, runtime=RuntimeName.RUNC, image=image)
    found = task_for(request, nowhere).check(script)
    assert [fault for fault in found if "kernels" in fault] == [
        "imports: train_gpt.py:1: import kernels: the image does not have this module"
    ] * faults
