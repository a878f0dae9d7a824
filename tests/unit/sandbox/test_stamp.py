from __future__ import annotations

import json

from kit.sandbox.stamp import LogWriter
from kit.values.log import Grammar, read_run
from kit.values.run_result import OutputStream
from kit.values.run_spec import Limits


def write(tmp_path, feeds, **limits):
    log, stamps = tmp_path / "guest.log", tmp_path / "stamps"
    lines = []
    with LogWriter(log, stamps, Limits(memory=1, **limits)) as writer:
        for t_ns, (stream, data) in enumerate(feeds, 1):
            lines += writer.feed(stream, data, t_ns)
        writer.finish(99)
    return writer, lines, log.read_bytes(), [json.loads(line) for line in stamps.read_text().splitlines()]


def test_every_byte_is_kept_as_it_came(tmp_path):
    data = [b"abc\n\xff\xfe\x00", b"\x1b[31m\n", b"no end"]
    _, _, log, stamps = write(tmp_path, [(OutputStream.STDOUT, d) for d in data])
    assert log == b"".join(data)
    assert sum(s[2] for s in stamps) == len(log)


def test_streams_are_not_mixed_within_a_line(tmp_path):
    feeds = [
        (OutputStream.STDOUT, b"step:1/2 val_"),
        (OutputStream.STDERR, b"warning\n"),
        (OutputStream.STDOUT, b"loss\n"),
    ]
    _, lines, log, stamps = write(tmp_path, feeds)
    assert log == b"warning\nstep:1/2 val_loss\n"
    assert [s[1] for s in stamps] == ["e", "o"]
    assert lines == [b"step:1/2 val_loss\n"]


def test_a_line_is_stamped_when_its_end_arrives(tmp_path):
    _, _, _, stamps = write(
        tmp_path, [(OutputStream.STDOUT, b"a"), (OutputStream.STDOUT, b"b"), (OutputStream.STDOUT, b"\n")]
    )
    assert stamps == [[3, "o", 3, 1]]


def test_stderr_gives_no_lines_to_the_parser(tmp_path):
    _, lines, _, _ = write(
        tmp_path, [(OutputStream.STDERR, b"step:1/1 val_loss:3.0 train_time:1ms step_avg:1.0ms\n")]
    )
    assert lines == []


def test_no_piece_of_an_overlong_line_is_a_whole_line(tmp_path):
    claim = b"step:1/1 val_loss:3.0000 train_time:1ms step_avg:1.00ms"
    _, lines, log, stamps = write(tmp_path, [(OutputStream.STDOUT, b"x" * 64 + claim + b"\nok\n")], line=64)
    assert lines == [b"ok\n"]
    assert [s[3] for s in stamps] == [0, 0, 1]
    assert len(log) == 64 + len(claim) + 4


def test_a_line_cut_over_two_reads_stays_cut(tmp_path):
    feeds = [(OutputStream.STDOUT, b"x" * 100), (OutputStream.STDOUT, b"tail\n")]
    _, lines, _, stamps = write(tmp_path, feeds, line=64)
    assert lines == []
    assert all(s[3] == 0 for s in stamps)


def test_output_stops_at_its_limit_to_the_byte(tmp_path):
    writer, lines, log, stamps = write(tmp_path, [(OutputStream.STDOUT, b"12345\n" * 10)], output=20)
    assert writer.exceeded
    assert len(log) == writer.bytes == 20
    assert lines == [b"12345\n"] * 3
    assert stamps[-1][3] == 0


def test_output_of_exactly_the_limit_is_allowed(tmp_path):
    writer, _, log, _ = write(tmp_path, [(OutputStream.STDOUT, b"12345\n" * 2)], output=12)
    assert not writer.exceeded
    assert len(log) == 12


def test_what_was_read_live_is_read_again_from_the_files(tmp_path):
    claims = b"".join(
        b"step:%d/20 val_loss:3.%04d train_time:%dms step_avg:1.00ms\n" % (n, n, n * 7) for n in range(1, 21)
    )
    chunks = [claims[i : i + 13] for i in range(0, len(claims), 13)]
    feeds = [(OutputStream.STDOUT, chunk) for chunk in chunks] + [
        (OutputStream.STDERR, b"step:21/20 nonsense\n")
    ]
    write(tmp_path, feeds)
    points = read_run(tmp_path / "guest.log", tmp_path / "stamps", Grammar.STEP)
    assert [p.step for p in points] == list(range(1, 21))
    assert [p.train_time_ms for p in points] == [n * 7 for n in range(1, 21)]
    assert all(p.host_ns is not None for p in points)


def test_a_flood_of_empty_lines_is_cut_before_its_stamps_outgrow_the_log(tmp_path):
    writer, _, log, stamps = write(tmp_path, [(OutputStream.STDOUT, b"\n" * 5000)], output=64_000)
    assert writer.exceeded and len(log) == len(stamps) == 2000
