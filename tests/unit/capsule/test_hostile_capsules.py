"""An archive that anybody may have made: whatever is wrong with it, it is refused and nothing is left."""

import io
import tarfile

import pytest

from kit.capsule import bag
from kit.capsule.unpack import unpack
from kit.capsule.write import part_of_bytes, part_of_file, write_capsule
from kit.cli import run as speedrun
from kit.core.digest import sha256_bytes
from kit.core.errors import DigestMismatch, IntegrityError, PrerequisiteError, RunError, UsageError
from kit.core.store import no_progress

EPOCH = 1_783_728_000
FILES = {"data/run/a.txt": b"first\n", "data/run/b/c.bin": bytes(range(256)) * 9, "data/z": b""}


def capsule(files=None, tags=None):
    """The archive of some files, as the writer makes it."""
    parts = {path: part_of_bytes(data) for path, data in (files or FILES).items()}
    oxum = bag.Oxum(sum(p.size for p in parts.values()), len(parts))
    given = {bag.INFO: bag.info(oxum, "r03", "2026-01-01", "0"), bag.RUN_MD: b"# run\n", **(tags or {})}
    sink = io.BytesIO()
    write_capsule(parts, given, EPOCH, sink, no_progress, "pack")
    return sink.getvalue()


def members(data):
    """The archive's members and their bytes."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [(m, tar.extractfile(m).read() if m.isreg() else b"") for m in tar]


def tar(found):
    """An ordinary tar of such members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for info, data in found:
            info.size = len(data) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()[: -(len(out.getvalue()) % 10240) or None]


def added(kind, name, **fields):
    """The capsule with one more member in front of the last."""
    found = members(capsule())
    info = tarfile.TarInfo(name)
    info.type, info.mtime, info.mode = kind, EPOCH, 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return tar([*found[:-1], (info, b""), found[-1]])


def renamed(old, new):
    found = members(capsule())
    for info, _ in found:
        if info.name == old:
            info.name = new
    return tar(found)


def with_manifest(change):
    """The capsule with another payload manifest that the tag manifest vouches for."""
    found = {m.name: (m, d) for m, d in members(capsule())}
    tags = {n: found[f"capsule/{n}"][1] for n in bag.TAG_FILES}
    tags[bag.MANIFEST] = change(tags[bag.MANIFEST])
    tags[bag.TAG_MANIFEST] = bag.tag_manifest(tags)
    for name, data in tags.items():
        found[f"capsule/{name}"] = (found[f"capsule/{name}"][0], data)
    return headers_of_ours(list(found.values()))


def headers_of_ours(found):
    """Spell members as the kit's writer does, so that only their content is at fault."""
    from kit.image.entry import ArchiveEntry, EntryKind
    from kit.image.tarball import header

    out = b""
    for info, data in found:
        kind = EntryKind.FOLDER if info.isdir() else EntryKind.FILE
        mode = 0o755 if info.isdir() else 0o644
        out += (
            header(ArchiveEntry(info.name, kind, mode, "", len(data)), EPOCH) + data + bytes(-len(data) % 512)
        )
    return out + bytes(1024)


def other_bytes(name, data):
    return headers_of_ours([(m, data if m.name == name else d) for m, d in members(capsule())])


def line(path, data=b"x"):
    return f"{sha256_bytes(data)}  {path}\n".encode()


@pytest.fixture
def refused(tmp_path):
    """Unpack bytes, expect a refusal, and that nothing is left."""

    def run(data, kind=IntegrityError, match=".", **options):
        (tmp_path / "x.tar").write_bytes(data)
        with pytest.raises(kind, match=match):
            unpack(tmp_path / "x.tar", tmp_path / "there" / "new", **options)
        assert list((tmp_path / "there").iterdir()) == []

    return run


def test_what_was_packed_comes_back(tmp_path):
    (tmp_path / "x.tar").write_bytes(capsule())
    root = unpack(tmp_path / "x.tar", tmp_path / "new")
    assert {p: (root / p).read_bytes() for p in FILES} == FILES
    assert (root / "RUN.md").read_bytes() == b"# run\n"
    found = {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}
    assert found == set(FILES) | set(bag.TAG_FILES)


def test_the_same_content_gives_the_same_archive():
    assert capsule() == capsule(dict(reversed(FILES.items())))


def test_an_ordinary_tar_reads_it():
    names = [m.name for m, _ in members(capsule())]
    assert names[:2] == ["capsule", "capsule/bagit.txt"]
    assert names == list(dict.fromkeys(names))
    assert {m.uid for m, _ in members(capsule())} == {0}


@pytest.mark.parametrize(
    ("kind", "name", "fields", "says"),
    [
        (tarfile.SYMTYPE, "capsule/data/y", {"linkname": "/etc/passwd"}, "a symbolic link"),
        (tarfile.LNKTYPE, "capsule/data/y", {"linkname": "capsule/RUN.md"}, "a hard link"),
        (tarfile.CHRTYPE, "capsule/data/y", {"devmajor": 1, "devminor": 3}, "a device"),
        (tarfile.BLKTYPE, "capsule/data/y", {"devmajor": 8}, "a device"),
        (tarfile.FIFOTYPE, "capsule/data/y", {}, "a pipe"),
        (b"S", "capsule/data/y", {}, "a sparse file"),
        (tarfile.REGTYPE, "../../../etc/cron.d/x", {}, "etc/cron.d"),
        (tarfile.REGTYPE, "/etc/cron.d/x", {}, "/etc/cron.d"),
        (tarfile.REGTYPE, "capsule/data/run/a.txt", {}, "a.txt"),
        (tarfile.DIRTYPE, "capsule/data/empty", {}, "empty"),
    ],
    ids=lambda v: v if isinstance(v, str) and " " in v else None,
)
def test_a_member_that_the_manifest_does_not_ask_for_is_refused_by_its_header(
    refused, kind, name, fields, says
):
    refused(added(kind, name, **fields), match=says)


@pytest.mark.parametrize("mode", [0o4755, 0o777, 0o600])
def test_another_mode_is_refused(refused, mode):
    found = members(capsule())
    found[-1][0].mode = mode
    refused(tar(found), match="expected capsule/data/z")


def test_another_owner_or_time_is_refused(refused):
    for field, value in (("uid", 1000), ("mtime", 5), ("uname", "somebody")):
        found = members(capsule())
        setattr(found[-1][0], field, value)
        refused(tar(found), match="expected capsule/data/z")


def test_a_renamed_member_is_refused(refused):
    refused(renamed("capsule/data/z", "capsule/data/y"), match="expected capsule/data/z")


@pytest.mark.parametrize(
    "path",
    [
        "data/../../outside", "/etc/passwd", "data//x", "data/.", "data/.hidden", "data/a\\b", "data/a b",
        "data/\x1b[31m", "other/x", "data/%2e%2e/x", "data/-rf", "data/" + "x" * 600,
    ],
)  # fmt: skip
def test_a_manifest_with_an_unsafe_path_is_refused(refused, path):
    refused(with_manifest(lambda old: old + line(path)), match="invalid payload path")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda old: old + old.splitlines(keepends=True)[-1], "listed twice"),
        (lambda old: b"".join(reversed(old.splitlines(keepends=True))), "out of order"),
        (lambda old: old + line("data/z/under"), "both a file and a directory"),
        (lambda old: old.upper(), "not a line in sha256sum format"),
        (lambda old: old.replace(b"  ", b" *"), "not a line in sha256sum format"),
        (lambda old: old + b"no end of line", "canonical form"),
        (lambda old: b"", "empty"),
        (lambda old: "".join(f"{'0' * 64}  data/{i:05d}\n" for i in range(4097)).encode(), "more than 4096"),
        (lambda old: old + b"\xff\n", "not ASCII text"),
    ],
)
def test_a_manifest_of_another_form_is_refused(refused, change, says):
    refused(with_manifest(change), match=says)


def test_a_manifest_that_lists_more_than_there_is_is_refused(refused):
    refused(
        with_manifest(lambda old: old + line("data/zz")), match="states 3 files, but the manifest lists 4"
    )


@pytest.mark.parametrize("name", sorted(FILES))
def test_other_bytes_than_the_manifest_says_are_refused(refused, name):
    data = FILES[name]
    if data:
        changed = data[:-1] + bytes([data[-1] ^ 1])
        refused(other_bytes(f"capsule/{name}", changed), DigestMismatch, "has sha256")
    refused(other_bytes(f"capsule/{name}", data + b"!"), IntegrityError)


@pytest.mark.parametrize("name", ["bag-info.txt", "RUN.md", "manifest-sha256.txt"])
def test_a_changed_tag_file_is_refused(refused, name):
    data = next(d for m, d in members(capsule()) if m.name == f"capsule/{name}")
    refused(other_bytes(f"capsule/{name}", data + b"\n"), DigestMismatch, "tagmanifest")


def test_another_version_of_bagit_is_refused(refused):
    refused(other_bytes("capsule/bagit.txt", b"BagIt-Version: 0.97\n"), match="BagIt 1.0")


def test_a_tag_file_is_bounded_before_it_is_read(refused):
    refused(other_bytes("capsule/RUN.md", bytes(bag.MAX_TAG_FILE + 1)), match="more than")


@pytest.mark.parametrize("name", ["capsule/RUN.md", "capsule/data/z"])
def test_a_size_below_zero_is_refused_by_its_header(refused, name):
    data = capsule()
    at = data.index(name.encode() + b"\0")
    block = bytearray(data[at : at + 512])
    block[124:135] = b"-0000001000"
    block[148:156] = b" " * 8
    block[148:155] = b"%06o\0" % sum(block)
    refused(data[:at] + block + data[at + 512 :], match=f"invalid header of member .*, expected {name}")


def test_a_payload_beyond_the_limit_is_refused_before_a_byte_of_it(refused):
    refused(capsule(), RunError, "more than the limit", max_bytes=1000)


def test_a_payload_beyond_the_limit_says_what_every_command_can_do(tmp_path):
    (tmp_path / "x.tar").write_bytes(capsule())
    with pytest.raises(RunError) as caught:
        unpack(tmp_path / "x.tar", tmp_path / "new", max_bytes=1000)
    assert "speedrun unpack FILE --max-bytes" in caught.value.hint  # `reproduce` has no such option


def test_a_payload_larger_than_it_says_is_refused(refused):
    small = bag.info(bag.Oxum(10, 3), "r03", "2026-01-01", "0")
    refused(capsule(tags={bag.INFO: small}), IntegrityError, "the payload is larger than")


def test_a_payload_larger_than_the_free_disk_is_refused(refused):
    huge = bag.info(bag.Oxum(1 << 50, 3), "r03", "2026-01-01", "0")
    refused(capsule(tags={bag.INFO: huge}), RunError, "are free", max_bytes=1 << 60)


@pytest.mark.parametrize("text", [b"", b"Payload-Oxum: 1.3\nPayload-Oxum: 1.3\n", b"Payload-Oxum: -1.3\n"])
def test_a_bag_that_does_not_state_its_size_is_refused(refused, text):
    refused(capsule(tags={bag.INFO: text}), match="expected exactly one valid Payload-Oxum")


@pytest.mark.parametrize("at", [0, 100, 511, 512, 3000, -1, -1024, -1025])
def test_a_truncated_archive_is_refused(refused, at):
    refused(capsule()[:at])


def test_what_follows_the_end_is_refused(refused):
    refused(capsule() + b"\0", match="unexpected data after the last member")
    refused(capsule()[:-1024] + capsule(), match="unexpected data after the last member")


def test_bytes_hidden_in_the_padding_are_refused(refused):
    data = capsule()
    at = data.index(b"first\n") + 100
    refused(data[:at] + b"!" + data[at + 1 :], match="padding after a file is not zero")


@pytest.mark.parametrize("compress", ["gzip", "lzma", "bz2"])
def test_a_compressed_archive_is_refused_unread(refused, compress):
    refused(__import__(compress).compress(capsule()), match="compressed|first member is")


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "x.tar").write_bytes(capsule())
    (tmp_path / "new").mkdir()
    with pytest.raises(UsageError, match="exists"):
        unpack(tmp_path / "x.tar", tmp_path / "new")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="exists"):
        unpack(tmp_path / "x.tar", tmp_path / "link")


def test_what_is_no_file_is_no_capsule(tmp_path):
    with pytest.raises(PrerequisiteError):
        unpack(tmp_path / "absent.tar", tmp_path / "new")
    with pytest.raises(PrerequisiteError):
        unpack(tmp_path, tmp_path / "new")


def test_a_file_that_changes_while_it_is_packed_is_refused(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"before")
    part = part_of_file(path)
    path.write_bytes(b"after!")
    info = bag.info(bag.Oxum(6, 1), "r03", "2026-01-01", "0")
    with pytest.raises(DigestMismatch, match="changed while it was packed"):
        write_capsule(
            {"data/log": part}, {bag.INFO: info, bag.RUN_MD: b""}, EPOCH, io.BytesIO(), no_progress, "pack"
        )


HOSTILE = {
    "a link": (lambda: added(tarfile.SYMTYPE, "capsule/data/y", linkname="/etc/passwd"), 4),
    "a traversal": (lambda: added(tarfile.REGTYPE, "../../../etc/cron.d/x"), 4),
    "a name twice": (lambda: added(tarfile.REGTYPE, "capsule/data/run/a.txt"), 4),
    "a device": (lambda: added(tarfile.CHRTYPE, "capsule/data/y", devmajor=1, devminor=3), 4),
    "a wrong manifest": (lambda: with_manifest(lambda old: old + line("data/zz")), 4),
    "other bytes": (lambda: other_bytes("capsule/data/run/a.txt", b"firsT\n"), 4),
    "a bomb": (lambda: capsule(tags={bag.INFO: bag.info(bag.Oxum(1 << 50, 3), "r03", "2026-01-01", "0")}), 5),
    "no bundle in it": (capsule, 3),
}


@pytest.mark.parametrize("fault", HOSTILE)
@pytest.mark.parametrize("name", ["unpack", "reproduce"])
def test_the_commands_refuse_it_with_their_exit_code_and_leave_nothing(tmp_path, fault, name, capsys):
    make, code = HOSTILE[fault]
    (tmp_path / "x.tar").write_bytes(make())
    options = {
        "unpack": ["--to", str(tmp_path / "new")],
        "reproduce": ["--store", str(tmp_path / "store"), "--out", str(tmp_path / "runs"), "--offline"],
    }[name]
    found = speedrun([name, str(tmp_path / "x.tar"), "--keys", str(tmp_path / "keys"), *options])
    assert found == code, capsys.readouterr().err
    assert "error: " in capsys.readouterr().err
    left = [p for p in tmp_path.rglob("*") if p.is_file() and p.parent.name != "locks"]
    assert [p.name for p in left] == ["x.tar"]


def packed_again(way):
    """The capsule's own members, by another tool."""
    found, out = members(capsule()), io.BytesIO()
    form = {"gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}.get(way, tarfile.USTAR_FORMAT)
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for info, data in sorted(found, key=lambda pair: pair[0].name) if way == "sorted" else found:
            match way:
                case "dots":
                    info.name = f"./{info.name}"
                case "inside":
                    info.name = info.name.removeprefix("capsule").lstrip("/") or "."
                case "pax":
                    info.pax_headers = {"mtime": "1783728000.5"}
                case "owner":
                    info.uid = info.gid = 1000
                case "time":
                    info.mtime = EPOCH + (0 if info.name == "capsule" else 1)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize("way", ["gnu", "pax", "dots", "inside", "owner", "sorted", "time"])
def test_a_capsule_that_another_tool_packed_again_is_refused_with_the_reason(way, refused, tmp_path, capsys):
    refused(packed_again(way), match=r"another tool (packed|may have packed) this capsule again")
    assert speedrun(["unpack", str(tmp_path / "x.tar"), "--to", str(tmp_path / "new")]) == 4
    assert "hint: use the .tar that `speedrun pack` wrote" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["other", "capsules/bagit.txt", "../capsule"])
def test_a_tar_of_something_else_is_not_called_a_capsule(name, refused):
    refused(
        tar([(tarfile.TarInfo(name), b"x")]), match="x.tar: first member is .*, expected directory capsule/"
    )
