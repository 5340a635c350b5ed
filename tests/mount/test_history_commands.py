"""A user looks for an old version, compares, brings it back and clears away, in real mounts of two devices."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

from tests.mount.test_two_devices import files as everything
from tests.mount.test_two_devices import in_step, values
from tests.mountkit import Cloud, MountKit, needs_fuse, wait_for, wait_same

pytestmark = needs_fuse


def files(folder: Path) -> dict[str, bytes]:
    return {path: data for path, data in everything(folder).items() if data is not None}


def told(kit: MountKit, *words: object) -> dict[str, Any]:
    done = kit.oaiofs(*words, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def lines(kit: MountKit, *words: object) -> list[str]:
    done = kit.oaiofs(*words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_from_finding_a_version_to_clearing_old_ones_away(slow: MountKit, d2: MountKit, cloud: Cloud) -> None:
    d1 = slow  # so that each set of edits is one version
    here, there = d1.path / "trip", d2.path / "trip"
    (here / "photos").mkdir(parents=True)
    (here / "photos/a.jpg").write_bytes(b"\0jpg" * 1000)
    (here / "plan.txt").write_text("one\ntwo\n")
    in_step(d1, "trip", d2)
    (here / "photos/a.jpg").unlink()
    (here / "photos").rmdir()
    (here / "plan.txt").write_text("one\n2\n")
    (here / "values.json").write_text('{"_name": "trip", "done": true}')
    in_step(d1, "trip", d2)

    newest, oldest = told(d2, "versions", there)["versions"]
    assert [oldest["stamp"], newest["stamp"]] == cloud.stamps("trip") == sorted(os.listdir(there / ".versions"))
    shown = lines(d2, "versions", there)
    assert shown[0].startswith(f"{oldest['stamp']}  ")
    assert shown[0].endswith("  2 files, 3.9 KiB")
    assert shown[2:] == [
        "    + photos/a.jpg, plan.txt", "    = values _name", shown[4],
        f"    by {d1.account.user} on slow; the version that is here", "    - photos/a.jpg", "    ~ plan.txt",
        "    = values done",
    ]  # fmt: skip
    assert [one["stamp"] for one in told(d2, "versions", "trip/photos")["versions"]] == [
        newest["stamp"], oldest["stamp"],
    ]  # fmt: skip

    old = oldest["stamp"]
    assert lines(d2, "diff", there / "plan.txt", "--version", old)[2:] == ["@@ -1,2 +1,2 @@", " one", "-two", "+2"]
    shown = lines(d2, "diff", "trip", "--version", old, "--version", newest["stamp"])
    assert f"Only in {old}: photos/a.jpg (3.9 KiB)" in shown
    assert '+  "done": true' in shown

    # A folder by its path in the mount, as it is no more; then all of it, on the other device.
    assert lines(d2, "restore", there / "photos", "--version", old) == [
        f"trip: as in version {old}: 1 file restored."
    ]  # fmt: skip
    assert (there / "photos/a.jpg").read_bytes() == b"\0jpg" * 1000
    in_step(d2, "trip", d1)
    wait_for((here / "photos/a.jpg").exists)
    assert files(here) == {"photos/a.jpg": b"\0jpg" * 1000, "plan.txt": b"one\n2\n"}
    (here / "added.txt").write_text("added\n")
    in_step(d1, "trip", d2)
    assert lines(d1, "restore", here / ".versions" / old) == [
        f"trip: as in version {old}: 1 file restored, 1 file moved to the trash, values restored."
    ]  # fmt: skip
    assert (here / "plan.txt").read_text() == "one\ntwo\n", "the kernel knows the new name at once"
    assert not (here / "added.txt").exists()
    in_step(d1, "trip", d2)
    for folder in (here, there):
        wait_same(partial(files, folder), {"photos/a.jpg": b"\0jpg" * 1000, "plan.txt": b"one\ntwo\n"})
        assert values(folder) == {"_name": "trip"}
    assert "added.txt" in d1.oaiofs("trash", "list").stdout
    assert len(cloud.stamps("trip")) == 5

    refused = d1.oaiofs("versions", "prune", here, "--keep", "1", "--older-than", "0")
    assert (refused.returncode, refused.stdout) == (7, "")
    assert refused.stderr.count("  2") >= 3
    assert "confirm with --yes" in refused.stderr
    assert len(cloud.stamps("trip")) == 5
    assert os.stat(here / ".versions" / old)
    done = lines(d1, "versions", "prune", here, "--keep", "1", "--older-than", "0", "--yes")
    assert done[0].startswith("3 versions gone for good, ")
    left = cloud.stamps("trip")
    assert left[-1] == cloud.objects()["trip"].stamp, "never the announced one"
    assert len(left) == 2, "nor what the other device announced last"
    wait_for(lambda: not os.path.exists(here / ".versions" / old))
    assert sorted(os.listdir(here / ".versions")) == left
    assert cloud.version(cloud.objects()["trip"]) == {"photos/a.jpg": b"\0jpg" * 1000, "plan.txt": b"one\ntwo\n"}


def test_without_a_mount_the_password_has_to_be_known(d1: MountKit) -> None:
    (d1.path / "x").mkdir()
    d1.sync()
    d1.stop()
    for words in (["versions", "x"], ["restore", "x", "--version", "2026"], ["diff", "x"], ["versions", "prune", "x"]):
        done = d1.oaiofs(*words, "--client-root", d1.client_root)
        assert (done.returncode, done.stdout) == (4, "")
        assert "No password is known for" in done.stderr


def test_an_object_called_prune(d1: MountKit, tmp_path: Path) -> None:
    (d1.path / "prune").mkdir()
    d1.sync()
    assert len(told(d1, "versions", "prune")["versions"]) == 1
    assert lines(d1, "versions", "prune", "prune") == ["No version of prune is to go."]
