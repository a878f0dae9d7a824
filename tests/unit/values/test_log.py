"""Claims are read from whole lines of stdout alone, the same live and afterwards."""

from __future__ import annotations

import math
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.core.errors import IntegrityError, PrerequisiteError, SchemaError
from kit.values.log import MAX_CLAIM, ClaimReader, Grammar, parse_line, read_run
from kit.values.logread import read_log
from kit.values.run_result import OutputStream, Point

VAL = "step:5100/5100 val_loss:3.2755 train_time:721882ms step_avg:141.82ms"


@pytest.mark.parametrize(
    ("grammar", "line", "expected"),
    [
        (Grammar.STEP, VAL, Point(5100, 5100, 3.2755, 721882)),
        (Grammar.STEP, "step:0/9 val_loss:10.8258 train_time:0ms step_avg:nanms", Point(0, 9, 10.8258, 0)),
        (Grammar.STEP, "step:7/9 train_time:51ms step_avg:7.29ms", Point(7, 9, None, 51)),
        (Grammar.STEP, "step:7/9 train_loss:4.1 train_time:51ms step_avg:7.29ms", Point(7, 9, None, 51)),
        (Grammar.LLM_C, "s:19560 tel:3.2722", Point(19560, 0, 3.2722, None)),
        (Grammar.LLM_C, "s:0 trl:11.0091 lr:0.000001 norm:15.37", Point(0, 0, None, None)),
        (Grammar.LLM_C, "s:0 trl:10.965596", Point(0, 0, None, None)),
        (Grammar.CLASSIC, "val loss 10.968871116638184", Point(0, 0, 10.968871116638184, None)),
        (
            Grammar.CLASSIC,
            "step    1/24576 | train loss 10.990517 | norm 15.2 | lr 5.8e-06 | (91.02 ms | 2880066 tok/s)",
            Point(1, 24576, None, None),
        ),
    ],
)
def test_reads_each_form_of_line(grammar: Grammar, line: str, expected: Point) -> None:
    assert parse_line(line, grammar) == expected


@pytest.mark.parametrize(
    "line",
    [
        " " + VAL,
        VAL + " ",
        VAL + "\r",
        "x" + VAL,
        VAL + VAL,
        VAL.replace("3.2755", "-3.2755"),
        VAL.replace("3.2755", "3,2755"),
        VAL.replace("3.2755", "٣.٢٧٥٥"),
        VAL.replace("3.2755", "{val_loss:.4f}"),
        VAL.replace("5100/5100", "5100"),
        VAL.replace("721882ms", "721882.5ms"),
        VAL + "\n" + VAL,
        "step:1/1 val_loss:3.1 train_time:1ms step_avg:" + "1" * MAX_CLAIM + "ms",
    ],
)
def test_anything_but_the_exact_line_is_no_claim(line: str) -> None:
    assert parse_line(line, Grammar.STEP) is None


@pytest.mark.parametrize("text", ["nan", "inf"])
def test_a_loss_that_is_not_finite_is_a_claim_of_nan(text: str) -> None:
    point = parse_line(VAL.replace("3.2755", text), Grammar.STEP)
    assert point is not None
    assert point.val_loss is not None
    assert math.isnan(point.val_loss)


def test_classic_validation_takes_its_step_from_the_training_line_before_it() -> None:
    claims = ClaimReader(Grammar.CLASSIC)
    lines = [
        b"val loss 10.9\n",
        b"step  128/7000 | train loss 6.1 | lr_scale 1.0 | (9 ms | 9 tok/s)\n",
        b"val loss 6.0\n",
    ]
    points = [claims.feed(line, OutputStream.STDOUT, True, n) for n, line in enumerate(lines)]
    assert points == [
        Point(0, 0, 10.9, None, 0),
        Point(128, 7000, None, None, 1),
        Point(128, 7000, 6.0, None, 2),
    ]


def test_a_long_hostile_line_costs_no_time() -> None:
    begin = time.process_time()
    for grammar in Grammar:
        for unit in ("step:1/1 ", "0", " ", "step ", "val loss 1", "s:0 trl:"):
            assert parse_line(unit * 20_000, grammar) is None
            assert parse_line((unit * 300)[: MAX_CLAIM - 1] + "!", grammar) is None
    assert time.process_time() - begin < 10.0


def written(folder: Path, pieces: list[tuple[bytes, str, int]]) -> tuple[Path, Path]:
    log, stamps = folder / "guest.log", folder / "stamps"
    log.write_bytes(b"".join(p for p, _, _ in pieces))
    rows = [f'[{10 * n},"{stream}",{len(p)},{int(whole)}]' for n, (p, stream, whole) in enumerate(pieces)]
    stamps.write_text("".join(row + "\n" for row in rows))
    return log, stamps


def test_stderr_and_cut_lines_are_never_claims(tmp_path: Path) -> None:
    line = VAL.encode() + b"\n"
    log, stamps = written(tmp_path, [(line, "e", 1), (line, "o", 0), (b"\xff\n", "o", 1), (line, "o", 1)])
    assert read_run(log, stamps, Grammar.STEP) == (Point(5100, 5100, 3.2755, 721882, 30),)


PIECES = st.lists(
    st.tuples(
        st.sampled_from(
            [VAL.encode() + b"\n", b"val loss 3.2\n", b"s:1 tel:3.3\n", b"\xc3\x28\n", b"\n", VAL.encode()]
        ),
        st.sampled_from("oe"),
        st.integers(0, 1),
    ),
    max_size=12,
)


@given(pieces=PIECES, grammar=st.sampled_from(Grammar))
def test_reading_a_stored_run_gives_the_live_claims(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[bytes, str, int]], grammar: Grammar
) -> None:
    streams = {"o": OutputStream.STDOUT, "e": OutputStream.STDERR}
    live = ClaimReader(grammar)
    claims = [live.feed(p, streams[s], bool(w), 10 * n) for n, (p, s, w) in enumerate(pieces)]
    log, stamps = written(tmp_path_factory.mktemp("run"), pieces)
    assert read_run(log, stamps, grammar) == tuple(c for c in claims if c is not None)


@pytest.mark.parametrize("change", [b"x", None])
def test_a_log_of_another_length_than_its_stamps_is_refused(tmp_path: Path, change: bytes | None) -> None:
    log, stamps = written(tmp_path, [(VAL.encode() + b"\n", "o", 1)])
    log.write_bytes(log.read_bytes() + change if change else log.read_bytes()[:-1])
    with pytest.raises(IntegrityError):
        read_run(log, stamps, Grammar.STEP)


@pytest.mark.parametrize(
    "row", ["", "{}", '[0,"x",1,1]', '[0,"o",-1,1]', '[0,"o",1,2]', '[0.5,"o",1,1]', '[0,["o"],1,1]']
)
def test_a_malformed_stamp_is_named_with_its_line(tmp_path: Path, row: str) -> None:
    log, stamps = written(tmp_path, [(b"a\n", "o", 1)])
    stamps.write_text(stamps.read_text() + row + "\n")
    with pytest.raises(SchemaError, match="stamps:2"):
        read_run(log, stamps, Grammar.STEP)


def test_a_missing_log_says_so(tmp_path: Path) -> None:
    with pytest.raises(PrerequisiteError, match="file not found"):
        read_log(tmp_path / "absent.txt")


SEPARATOR = b"=" * 100 + b"\n"
SOURCE = b"import os\n# step:1/1 val_loss:0.1000 train_time:1ms step_avg:1.00ms\n" + VAL.encode() + b"\n"
ENVIRONMENT = b"""Running Python 3.12.7 (main, Oct 16 2024, 04:37:19) [Clang 18.1.8 ]
Running PyTorch 2.6.0.dev20241231+cu126 compiled for CUDA 12.6
Running Triton version 3.2.0
| NVIDIA-SMI 550.90.07              Driver Version: 550.90.07      CUDA Version: 12.6     |
|   0  NVIDIA H100 80GB HBM3          On  |   00000000:61:00.0 Off |                    0 |
|   1  NVIDIA H100 80GB HBM3          On  |   00000000:62:00.0 Off |                    0 |
"""
KERNELS = b"-" * 40 + b"\n# triton_kernels.py\n" + b"-" * 40 + b"\nimport torch\n"


@pytest.mark.parametrize("leading", [b"", SEPARATOR])
@pytest.mark.parametrize("empty", [b"", b"\n" + SEPARATOR])
@pytest.mark.parametrize("kernels", [b"", KERNELS])
def test_embedded_source_is_cut_off_and_never_read_for_claims(
    leading: bytes, empty: bytes, kernels: bytes
) -> None:
    lines = VAL.encode() + b"\npeak memory consumption: 30 MiB\n"
    log = read_log(leading + SOURCE + kernels + SEPARATOR + ENVIRONMENT + SEPARATOR + empty + lines)
    assert log.grammar is Grammar.STEP
    assert log.points == (Point(5100, 5100, 3.2755, 721882),)
    assert (log.sources[0].name, log.sources[0].data) == ("train_gpt2.py", SOURCE)
    assert [s.name for s in log.sources][1:] == (["triton_kernels.py"] if kernels else [])
    assert log.environment is not None
    assert (log.environment.python, log.environment.torch, log.environment.cuda, log.environment.triton) == (
        "3.12.7",
        "2.6.0.dev20241231+cu126",
        "12.6",
        "3.2.0",
    )
    assert log.environment.driver == "550.90.07"
    assert log.environment.gpus == ("NVIDIA H100 80GB HBM3",) * 2


def test_a_log_that_ends_inside_its_environment_has_no_claims() -> None:
    log = read_log(SOURCE + SEPARATOR + ENVIRONMENT + VAL.encode() + b"\n")
    assert (log.grammar, log.points) == (None, ())


def test_the_grammar_is_found_from_the_lines() -> None:
    assert read_log(b"s:0 tel:11.0\ns:1 trl:10.9\n").grammar is Grammar.LLM_C
    assert read_log(b"val loss 11.0\n").grammar is Grammar.CLASSIC
    assert read_log(b"hello\n").grammar is None


def test_a_log_with_more_claims_than_any_run_prints_is_refused_before_they_fill_the_memory(tmp_path):
    line = b"step:1/9 val_loss:5.5 train_time:0ms step_avg:0.0ms\n"
    log, stamps = tmp_path / "guest.log", tmp_path / "stamps"
    log.write_bytes(line * 300_000)
    stamps.write_bytes(b'[1,"o",%d,1]\n' % len(line) * 300_000)
    tracemalloc.start()
    with pytest.raises(SchemaError, match="more than 110000 claims"):
        read_run(log, stamps, Grammar.STEP)
    assert tracemalloc.get_traced_memory()[1] < 60 << 20
    tracemalloc.stop()
    with pytest.raises(SchemaError, match="more than 110000 claims"):
        read_log(log)


def test_output_without_claims_is_read_in_little_memory(tmp_path):
    log, stamps = tmp_path / "guest.log", tmp_path / "stamps"
    log.write_bytes(b"x" * 99 + b"\n" + b"y" * (20 << 20))
    stamps.write_bytes(b'[1,"o",100,1]\n' + b'[2,"e",1024,0]\n' * (20 << 10))
    tracemalloc.start()
    assert read_run(log, stamps, Grammar.STEP) == ()
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()
    stamps.write_bytes(stamps.read_bytes() + b'[2,"e",1,0]\n')
    with pytest.raises(IntegrityError, match="stamps covers 20971621 bytes, but"):
        read_run(log, stamps, Grammar.STEP)


@pytest.mark.parametrize("stamp", [b"[1]", b'[1,"o",1,1] ', b'[1,"o",0,1]', b"x" * 200, b'[1,"o",1,1]\r'])
def test_a_malformed_stamp_is_named_by_its_line(tmp_path, stamp):
    log, stamps = tmp_path / "guest.log", tmp_path / "stamps"
    log.write_bytes(b"aa")
    stamps.write_bytes(b'[1,"o",1,1]\n' + stamp + b"\n")
    with pytest.raises(SchemaError, match=":2: invalid stamp"):
        read_run(log, stamps, Grammar.STEP)
