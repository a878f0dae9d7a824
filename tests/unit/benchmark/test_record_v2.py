"""A record of form record.v2: any name and entry file, several upstream files, and no re-timed run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from kit.benchmark.records import fetch_script, known, load, load_all, sources
from kit.core.digest import sha256_bytes
from kit.core.errors import DigestMismatch, SchemaError
from kit.core.facts import facts_root
from kit.core.store import Store

RECORDS = facts_root() / "records"
MAIN, KERNELS = b"import triton_kernels\nprint('main')\n", b"X = 1\n"

TOML = """\
schema = "record.v2"
id = "{id}"
target = "86"
date = "2026-07-01"
title = "A later record, for a test"
contributors = ["@somebody"]
[time]
official_s = 78.3
same_node = {{ runs = 8, mean_ms = 78269.0, sd_ms = 66.1, mean_val_loss = 3.27881 }}
[script]
source = "file"
entry = "train_gpt.py"
args = []
folders = ["logs"]
files = [
  {{ name = "train_gpt.py", sha256 = "{main}", origin = {main_origin} }},
  {{ name = "triton_kernels.py", sha256 = "{kernels}"{origin} }},
]
[environment]
era = "torch-2.10.0"
torch = "2.10.0+cu128"
fidelity = {{ torch = "exact", python = "nearest", flash-attention = "nearest" }}
[run]
grammar = "step"
steps = 1300
untimed_steps = 0
world_size = "accumulates"
[evidence]
training_every = 1
validation_every = 250
validates_start = true
guest_clock = true
[data]
tokens_per_step = 393216
train_shards = 5
val_tokens = 10485760
[deadlines]
start_s = 900
warmup_s = 300
stall_s = 300
teardown_s = 120
total_s = 3600
"""


@pytest.fixture
def upstream(tmp_path: Path) -> tuple[Path, str]:
    """A repository with the two files."""
    folder = tmp_path / "upstream"
    folder.mkdir()
    for name, data in (("train_gpt.py", MAIN), ("triton_kernels.py", KERNELS)):
        (folder / name).write_bytes(data)
    me = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for argv in (["init", "-q"], ["add", "."], [*me, "commit", "-qm", "both"]):
        subprocess.run(["git", "-C", str(folder), *argv], check=True)
    done = subprocess.run(["git", "-C", str(folder), "rev-parse", "HEAD"], check=True, capture_output=True)
    return folder, done.stdout.decode().strip()


@pytest.fixture
def write(tmp_path, upstream):
    """Write the record into a copy of records/; gives that directory."""
    records = tmp_path / "records"
    shutil.copytree(RECORDS, records)

    def run(name="85c", file=None, main=MAIN, origin=True):
        def at(path, data):
            where = f'commit = "{upstream[1]}", path = "{path}"'
            return f'{{ {where}, size = {len(data)}, sha256 = "{sha256_bytes(data)}" }}'

        text = TOML.format(
            id=name,
            main=sha256_bytes(main),
            main_origin=at("train_gpt.py", main),
            kernels=sha256_bytes(KERNELS),
            origin=f", origin = {at('triton_kernels.py', KERNELS)}" if origin else "",
        )
        (records / f"{file or name}.toml").write_text(text)
        return records

    return run


def test_it_is_read_with_its_own_lines_and_without_a_re_timed_run(write):
    record = load(write(), "85c")
    assert (record.name, record.number, record.target, record.manifest) == (
        "85c",
        85,
        "86",
        "records/85c.toml",
    )
    assert record.retimed_ms is None and record.reference_ms == 78300.0
    assert (
        record.same_node is not None and record.same_node.runs == 8 and record.same_node.sd_val_loss is None
    )
    assert record.cadence.validation_every == 250 and record.untimed_steps == 0
    assert record.script.entry == "train_gpt.py" and len(record.script.origins) == 2


def test_it_stands_behind_the_others_in_their_order(write):
    records = write()
    assert known(records)[-6:-3] == ["85", "85c", "86"]
    assert [r.name for r in load_all(records)][-5] == "85c"


def test_its_files_are_fetched_one_by_one_and_make_a_submission(write, upstream, tmp_path):
    record = load(write(), "85c")
    folder = fetch_script(record, Store(tmp_path / "store"), sources(upstream[0]))
    assert (folder / "triton_kernels.py").read_bytes() == KERNELS
    assert folder.name.startswith("85c-") and (folder / "train_gpt.py").read_bytes() == MAIN


def test_bytes_with_another_digest_are_refused(write, upstream, tmp_path):
    record = load(write(main=b"print('else')\n"), "85c")
    with pytest.raises(DigestMismatch):
        fetch_script(record, Store(tmp_path / "store"), sources(upstream[0]))


def test_a_file_without_an_origin_and_another_name_than_the_files_are_refused(write):
    with pytest.raises(SchemaError, match="no origin"):
        load(write(origin=False), "85c")
    with pytest.raises(SchemaError, match="the file describes record 85c"):
        load(write(file="84"), "84")
