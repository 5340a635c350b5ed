"""The trash with real mounts and two devices: what is removed, here or elsewhere, comes back with one command."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from tests.mountkit import Cloud, MountKit, MountMaker, needs_fuse, tree, wait_for, wait_same, when_asked

pytestmark = needs_fuse


def files(folder: Path) -> dict[str, bytes | None]:
    """What is in an object, but for its sidecar; {} while it is not there."""
    if not folder.exists():
        return {}
    return {path: data for path, data in tree(folder).items() if path != "values.json"}


def in_trash(kit: MountKit) -> list[dict[str, Any]]:
    done = kit.oaiofs("trash", "list", "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["entries"]
    return found


def restore(kit: MountKit, *names: str) -> None:
    done = kit.oaiofs("trash", "restore", *names)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_whatever_is_removed_comes_back(d1: MountKit, new_mount: MountMaker, cloud: Cloud) -> None:
    d2 = new_mount("d2", quiet=60.0)  # one set of edits is one version, however long it takes
    here, there = d1.path / "notes", d2.path / "notes"
    (d1.path / "bystander").mkdir()
    here.mkdir()
    (here / "sub").mkdir()
    (here / "a.txt").write_bytes(b"first")
    (here / "sub" / "b.txt").write_bytes(b"second")
    (here / "new.txt").write_bytes(b"new")
    everything: dict[str, bytes | None] = {"a.txt": b"first", "new.txt": b"new", "sub": None, "sub/b.txt": b"second"}
    wait_same(lambda: files(there), everything)

    # a file removed elsewhere
    (there / "a.txt").unlink()
    shutil.rmtree(there / "sub")
    d2.sync()
    wait_same(lambda: files(here), {"new.txt": b"new"})
    (entry,) = in_trash(d1)
    assert (entry["what"], entry["name"], entry["by"], entry["files"]) == ("files", "notes", "d2", 2)
    restore(d1, "notes")
    assert files(here) == everything, "the kernel was told of every name"
    wait_same(lambda: files(there), everything)

    # the object deleted elsewhere
    shutil.rmtree(there)
    d2.sync()
    wait_for(lambda: not here.exists())
    assert in_trash(d2)[0]["why"] == "removed here"
    restore(d1, "notes")
    assert files(here) == everything
    wait_same(lambda: files(there), everything)
    d1.sync()
    held = {path: data for path, data in everything.items() if data is not None}
    assert cloud.version(cloud.objects()["notes"]) == held

    # and it all goes for good
    done = d2.oaiofs("trash", "empty", "--yes")
    assert "gone for good" in done.stdout
    assert in_trash(d2) == []
    assert files(there) == everything


def test_a_removal_is_taken_back_with_an_edit_that_nobody_else_has(
    new_mount: MountMaker, d2: MountKit, cloud: Cloud
) -> None:
    d1 = new_mount("d1", quiet=60.0)  # so long the server does not hear of it
    here, there = d1.path / "notes", d2.path / "notes"
    (d1.path / "bystander").mkdir()
    here.mkdir()
    (here / "sub").mkdir()
    (here / "a.txt").write_bytes(b"first")
    (here / "sub" / "b.txt").write_bytes(b"second")
    d1.sync()
    wait_same(lambda: files(there), {"a.txt": b"first", "sub": None, "sub/b.txt": b"second"})
    first_id = cloud.objects()["notes"].oaio_id
    (here / "a.txt").write_bytes(b"edited")
    shell = os.open(here, os.O_RDONLY | os.O_DIRECTORY)
    try:
        shutil.rmtree(here)
        assert not here.exists()
        assert d1.ask("trash_restore", names=["notes"])["restored"][0]["new"] is False
    finally:
        os.close(shell)
    assert files(here) == {"a.txt": b"edited", "sub": None, "sub/b.txt": b"second"}
    (here / "new.txt").write_bytes(b"the folder is no removed one to the kernel")
    d1.sync()
    expected = {"a.txt": b"edited", "sub": None, "sub/b.txt": b"second", "new.txt": (here / "new.txt").read_bytes()}
    wait_same(lambda: files(there), expected)
    assert cloud.objects()["notes"].oaio_id == first_id
    assert in_trash(d1) == []


@when_asked
def test_a_mass_deletion_waits_and_the_message_names_the_ways_on(d1: MountKit, d2: MountKit, cloud: Cloud) -> None:
    names = [f"object{number}" for number in range(8)]
    for name in names:
        (d1.path / name).mkdir()
        (d1.path / name / "f").write_bytes(name.encode())
    d1.sync()
    wait_same(lambda: [sorted(files(d2.path / name)) for name in names], [["f"]] * 8)
    for name in names[:7]:
        shutil.rmtree(d1.path / name)
    done = d1.oaiofs("sync", "--timeout", "20")
    assert done.returncode == 7, done.stderr
    for words in ("oaiofs sync --yes", "oaiofs trash empty", "oaiofs trash restore"):
        assert words in done.stderr
    assert len(cloud.objects()) == 8
    restore(d1, "object0", "object1")
    d1.sync()
    wait_for(lambda: len(cloud.objects()) == 3, what="the rest, a handful, going")
    assert files(d1.path / "object0") == {"f": b"object0"}
    wait_same(lambda: sorted(path.name for path in d2.path.iterdir()), ["object0", "object1", "object7"])
