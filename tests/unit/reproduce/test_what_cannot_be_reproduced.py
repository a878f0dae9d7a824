"""What cannot be repeated is said before anything is fetched or started, and why."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kit.benchmark.records import load
from kit.cli import run as speedrun
from kit.core.digest import sha256_bytes
from kit.core.errors import PrerequisiteError, UsageError
from kit.core.facts import facts_root
from kit.core.store import FolderFetcher, Store
from kit.evaluate.request import Overrides, Places
from kit.image.build import accept
from kit.reproduce import NotComparable, OriginalRun, from_bundle, plan_again
from kit.result.keys import Trusted
from kit.result.predicate import CompileCache, Image, Manifest
from kit.result.verify import open_bundle
from kit.values.deadlines import Deadlines
from kit.values.profile import Profile
from kit.values.run_spec import RuntimeName
from kit.values.software import Kit

ASSETS = Path(__file__).parents[2] / "assets" / "bundles"
IMAGES, RECORDS = facts_root() / "images", facts_root() / "records"


@pytest.fixture
def opened(tmp_path, press):
    """Open a run for repeating, with an empty store and no source to fetch from."""

    def run(profile=Profile.FULL, images=IMAGES, fetchers=(), **parts):
        inputs = press.MAKE.predicate(ASSETS).inputs
        same = Manifest("records/03.toml", load(RECORDS, 3).manifest_sha256)
        extra = {"inputs": replace(inputs, record_manifest=same), **parts}
        sample = press.Sample(1, profile=profile, script=press.MAKE.SCRIPT, extra=tuple(extra.items()))
        made = press.press(tmp_path, sample)
        places = Places(
            RECORDS, images, Store(tmp_path / "store"), tmp_path / "out", tmp_path / "keys",
            fetchers=fetchers, kit=Kit("0", None),
        )  # fmt: skip
        return from_bundle(made, Trusted((press.MAKE.SIGNER.public,)), places)

    return run


def test_a_run_of_another_version_of_the_record_is_not_comparable(opened, press):
    inputs = press.MAKE.predicate(ASSETS).inputs
    with pytest.raises(NotComparable, match=r"records/03.toml differs from the version that the run used"):
        opened(inputs=inputs)


def test_a_smoke_run_on_other_data_is_not_comparable(opened):
    with pytest.raises(NotComparable, match="the smoke data"):
        opened(profile=Profile.SMOKE)


def test_a_run_on_its_machines_own_files_cannot_be_repeated(opened, press):
    environment = replace(press.MAKE.environment(), image=None)
    with pytest.raises(UsageError, match="did not run in an image"):
        opened(environment=environment)


def test_a_run_with_a_warm_compile_cache_cannot_be_repeated(opened, press):
    run = replace(
        press.MAKE.predicate(ASSETS).run,
        compile_cache=CompileCache.WARM,
        compile_cache_sha256=sha256_bytes(b""),
    )
    with pytest.raises(UsageError, match="started with a warm compile cache") as refused:
        opened(run=run)
    assert refused.value.hint == "choose a run that was made without --compile-cache warm"


def test_missing_packages_are_counted_and_a_capsule_is_proposed(opened, tmp_path):
    with pytest.raises(PrerequisiteError) as refused:
        opened()
    count, *names = [str(part) for part in (refused.value.headline.split()[0], *refused.value.details)]
    assert len(names) == 4 and names[3] == f"… {int(count) - 3} more"
    assert all(" " not in name and name.endswith((".deb", ".whl")) for name in names[:3])
    hint = refused.value.hint
    assert hint.startswith(f"rerun from a capsule: on a machine with a network, speedrun pack {tmp_path}")
    assert "; then speedrun reproduce FILE --offline; or put them into a directory" in hint
    assert "--mirror DIR" in hint


@pytest.mark.parametrize("own", ["config", "manifest", "neither"])
def test_a_run_in_another_image_is_not_comparable(opened, press, tiny, tmp_path, own):
    fetchers = (FolderFetcher(tiny.mirror),)
    ours = accept("tiny", tiny.images, Store(tmp_path / "store"), fetchers)
    digests = {"config": (ours.config_digest, "1" * 64), "manifest": ("1" * 64, ours.manifest_digest)}
    image = Image(*digests.get(own, ("1" * 64, "2" * 64)))
    environment = replace(press.MAKE.environment(), era="tiny", image=image)
    used, here = (
        (image.manifest_digest, ours.manifest_digest)
        if own == "config"
        else (image.config_digest, ours.config_digest)
    )
    kind = "manifest" if own == "config" else "config"
    said = f"image {kind} digest mismatch: the run used {used[:12]}, this kit has {here[:12]}"
    with pytest.raises(NotComparable, match=said) as e:
        opened(images=tiny.images, fetchers=fetchers, environment=environment)
    assert e.value.hint.startswith("use the capsule of the run, or the kit that ran it: version ")


def test_the_command_says_not_comparable_and_why_before_it_fetches_or_starts_anything(
    press, tmp_path, capsys
):
    made = press.press(tmp_path / "first", press.Sample(1))
    places = [f"--{name}={tmp_path / name}" for name in ("store", "keys", "out")]
    assert speedrun(["reproduce", str(made), "--offline", "--json", *places]) == 1
    shown = capsys.readouterr()
    (reason,) = json.loads(shown.out)["reproduces"]["reasons"]
    assert "records/03.toml differs" in reason
    assert "NOT COMPARABLE: records/03.toml" in shown.err and "use the kit that ran it" in shown.err
    assert not (tmp_path / "out").exists()


def test_a_tampered_bundle_is_refused_and_not_called_incomparable(press, tmp_path, capsys):
    made = press.press(tmp_path / "first", press.Sample(1))
    (made / "guest.log").write_bytes(b"step:20/20 val_loss:3.0\n")
    places = [f"--{name}={tmp_path / name}" for name in ("store", "keys", "out")]
    assert speedrun(["reproduce", str(made), "--offline", *places]) == 4
    assert "step 6" in capsys.readouterr().err


def test_the_host_runtime_reproduces_nothing(press, tmp_path):
    made = press.press(tmp_path, press.Sample(1))
    found = open_bundle(made, Trusted((press.MAKE.SIGNER.public,)))
    with pytest.raises(UsageError, match="is no evidence"):
        plan_again(OriginalRun(found, None, own_image=True), RuntimeName.HOST, lambda: "unix:///none")


def test_a_rerun_takes_other_deadlines_and_keeps_the_rest(press, tmp_path, monkeypatch):
    requests = []
    monkeypatch.setattr("kit.reproduce.draft", lambda request, places: requests.append(request))
    made = press.press(tmp_path, press.Sample(1))
    found = open_bundle(made, Trusted((press.MAKE.SIGNER.public,)))
    original = OriginalRun(found, None, own_image=True)
    plan_again(original, None, lambda: "", Overrides(total_s=1200.0, start_s=30.0))
    plan_again(original, None, lambda: "")
    theirs = found.predicate.run.deadlines
    assert requests[0].overrides.applied(Deadlines()) == replace(theirs, total_s=1200.0, start_s=30.0)
    assert requests[1].overrides.applied(Deadlines()) == theirs


@pytest.mark.parametrize("value", ["0", "-1", "soon", "nan", "8d"])
def test_a_wrong_deadline_of_a_rerun_is_a_usage_error(capsys, value):
    assert speedrun(["reproduce", "none", "--total-deadline", value]) == 2
    assert "--total-deadline" in capsys.readouterr().err
