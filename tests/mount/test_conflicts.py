"""A user ends conflicts with the command, in real mounts, and sees them vanish on the other device."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.mount.test_two_devices import files, in_step, values
from tests.mountkit import Cloud, MountKit, needs_fuse, wait_for

pytestmark = needs_fuse


def conflicts(kit: MountKit, *words: object) -> list[dict[str, Any]]:
    done = kit.oaiofs("conflicts", "--json", *words)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["conflicts"]
    return found


def disagree(d1: MountKit, slow: MountKit) -> tuple[Path, Path]:
    """Both have changed a file and a value, *d1* was the first."""
    here, there = d1.path / "shared", slow.path / "shared"
    here.mkdir()
    (here / "letter.txt").write_text("old\n")
    (here / "values.json").write_text('{"_name": "shared", "two": {"x": 1, "y": 1}}')
    in_step(d1, "shared", slow)
    for folder, text, value in ((there, "by slow\n", 2), (here, "by d1\n", 3)):
        (folder / "letter.txt").write_text(text)
        (folder / "values.json").write_text(json.dumps({"_name": "shared", "two": {"x": value, "y": 1}}))
    in_step(d1, "shared")
    in_step(slow, "shared", d1)
    return here, there


def test_a_user_ends_both_kinds_and_they_vanish_on_the_other_device(
    d1: MountKit, slow: MountKit, cloud: Cloud
) -> None:
    here, there = disagree(d1, slow)
    copy = next(name for name in os.listdir(here) if "(conflict slow " in name)
    assert copy in os.listdir(there)
    of_file, of_value = conflicts(slow)
    assert [one["id"] for one in conflicts(d1)] == [of_file["id"]]
    assert d1.shown("shared")["state"] == slow.shown("shared")["state"] == "conflict"
    shown = d1.oaiofs("conflicts", here / "letter.txt", "--show").stdout
    assert "-by d1\n" in shown
    assert "+by slow\n" in shown
    base = slow.oaiofs("conflicts", there / copy, "--show").stdout
    assert "  base:\n    old\n" in base

    # On the device that has nothing to do with the copy, in its mount, by a path; the kernel knows both names.
    before = os.stat(here / copy).st_ino
    with open(here / "letter.txt") as opened:
        done = d1.oaiofs("conflicts", here / "letter.txt", "--keep", "mine")
        assert (done.returncode, done.stderr) == (0, "")
        wait_for(lambda: not os.path.exists(here / copy))
        wait_for(lambda: os.stat(here / "letter.txt").st_ino == before)
        assert (here / "letter.txt").read_text() == "by slow\n"
        assert opened.read() == "by d1\n", "who has the replaced file open keeps it"
    done = slow.oaiofs("conflicts", of_value["id"], "--keep", "mine")
    assert (done.returncode, done.stdout) == (0, "shared: two.x: set to 2\n")
    wait_for(lambda: values(there)["two"] == {"x": 2, "y": 1})

    in_step(d1, "shared")
    in_step(slow, "shared", d1)
    for kit, folder in ((d1, here), (slow, there)):
        assert files(folder) == {"letter.txt": b"by slow\n"}
        assert values(folder) == {"_name": "shared", "two": {"x": 2, "y": 1}}
        assert conflicts(kit) == []
        assert json.loads((kit.path / ".oaiofs" / "conflicts.json").read_text()) == {"conflicts": []}
        assert kit.status()["conflicts"] == 0
        assert kit.shown("shared")["state"] in ("synced", "online-only")
    assert cloud.version(cloud.objects()["shared"]) == {"letter.txt": b"by slow\n"}
    assert b"by d1\n" in cloud.stored(cloud.objects()["shared"]).values(), "what was replaced is in an older version"
    slow.stop()
    assert conflicts(slow, "--client-root", slow.client_root) == []
