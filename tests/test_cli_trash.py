"""``oaiofs trash`` as users run it, on a client root without a mount, and its answers as text."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from oaiofs.cache import objects, trash, tree
from oaiofs.cache.store import Head, Store
from oaiofs.cli import trash as command_lines
from tests.clikit import command, home, oaiofs, refused

__all__ = ["home"]

pytestmark = pytest.mark.usefixtures("home")


def make(store: Store, name: str, text: bytes) -> Head:
    head = objects.create(store, name, csh_id="Digi", username="alice", device_id="laptop", app_id="oaiofs")
    node, descriptor = tree.create_file(store, head.ino, "a.txt", 0o644)
    os.write(descriptor, text)
    os.close(descriptor)
    tree.unlink(store, node)
    return head


@pytest.fixture
def root(home: Path) -> Path:
    """A client root with Diary in the mount, and Notes twice and Letters once in the trash."""
    place = home / "root"
    store = Store(place, wall_clock=lambda: 1_780_000_000.0)
    store.state.set_meta("device_id", "laptop")
    store.state.set_meta("account", "alice http://localhost")
    for name, text in (("Notes", b"first"), ("Notes", b"second"), ("Letters", b"dear")):
        trash.remove(store, make(store, name, text))
    objects.create(store, "Diary", csh_id="Digi", username="alice", device_id="laptop", app_id="oaiofs")
    store.close(clean=True)
    return place


def listed(root: Path) -> list[dict[str, Any]]:
    done = oaiofs("trash", "list", "--json", "--client-root", root)
    assert (done.returncode, done.stderr) == (0, "")
    found: list[dict[str, Any]] = json.loads(done.stdout)["entries"]
    return found


def in_mount(root: Path) -> list[str]:
    store = Store(root)
    names = sorted(store.by_name)
    store.close(clean=True)
    return names


def test_what_is_in_the_trash_is_told(root: Path) -> None:
    assert [(one["entry"], one["name"], one["files"]) for one in listed(root)] == [
        ("Letters.3", "Letters", 2), ("Notes.1", "Notes", 2), ("Notes.2", "Notes", 2)
    ]  # fmt: skip
    done = oaiofs("trash", "list", "--client-root", root)
    assert "Letters: object, removed here\n  entry    Letters.3\n" in done.stdout
    assert "3 entries, " in done.stdout
    refused(oaiofs("trash", "list"), 3, "--client-root")
    refused(oaiofs("trash", "list", "--client-root", "/nowhere"), 3, "no client root")


def test_restoring_by_name_and_by_entry(root: Path) -> None:
    refused(oaiofs("trash", "restore", "Notes", "--client-root", root), 2, "2 times", "'Notes.1', 'Notes.2'")
    refused(oaiofs("trash", "restore", "Letters", "Notes", "--client-root", root), 2, "2 times")
    assert in_mount(root) == ["Diary"], "nothing was done"
    refused(oaiofs("trash", "restore", "Novel", "--client-root", root), 1, "no Novel in the trash")
    done = oaiofs("trash", "restore", "Letters", "Notes.2", "--client-root", root)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Letters is back.\nNotes is back.\n"
    done = oaiofs("trash", "restore", "Notes", "--json", "--client-root", root)
    assert json.loads(done.stdout)["restored"][0]["object"] == "Notes ~2"
    assert in_mount(root) == ["Diary", "Letters", "Notes", "Notes ~2"]
    assert sorted(path.read_bytes() for path in root.glob("objects/*/a.txt")) == [b"dear", b"first", b"second"]
    assert listed(root) == []


def test_emptying_needs_a_yes(root: Path) -> None:
    refused(oaiofs("trash", "empty", "--client-root", root), 7, "3 entries", "--yes")
    refused(oaiofs("trash", "empty", "Letters", "--client-root", root), 7, "1 entries", "--yes")
    sizes = {one["entry"]: one["bytes"] for one in listed(root)}
    assert len(sizes) == 3
    done = oaiofs("trash", "empty", "Letters", "--yes", "--client-root", root)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"1 entry gone for good, {sizes['Letters.3']} B freed.\n"
    done = oaiofs("trash", "empty", "--yes", "--json", "--client-root", root)
    freed = sizes["Notes.1"] + sizes["Notes.2"]
    assert json.loads(done.stdout) == {"emptied": ["Notes.1", "Notes.2"], "bytes": freed}
    assert os.listdir(root / "trash") == []
    done = oaiofs("trash", "empty", "--client-root", root)
    assert done.stdout == "0 entries gone for good, 0 B freed.\n"


@pytest.mark.parametrize(("answer", "code", "left"), [("n\n", 130, 3), ("y\n", 0, 0)])
def test_at_a_terminal_emptying_asks_first(root: Path, answer: str, code: int, left: int) -> None:
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            command("trash", "empty", "--client-root", root), stdin=theirs, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        os.write(ours, answer.encode())
        output, question = process.communicate(timeout=60)
    finally:
        os.close(ours)
        os.close(theirs)
    assert "Remove 3 entries (" in question
    assert process.returncode == code
    assert ("gone for good" in output) == (code == 0)
    assert len(listed(root)) == left


def entry(**more: Any) -> dict[str, Any]:
    return {
        "entry": "Notes.1", "name": "Notes", "what": "object", "id": "x", "removed_at": "2026-11-20T10:00:00+00:00",
        "why": "removed here", "by": "", "files": 2, "bytes": 3 * 2**20, "elsewhere": 0,
        "purged_at": "2026-12-20T10:00:00+00:00", "server_knows": True, "path": "/r/trash/Notes.1", "problems": [],
        "paths": [],
        **more,
    }  # fmt: skip


def test_the_list_as_text() -> None:
    assert command_lines.lines({"entries": []}) == ["The trash is empty."]
    found = [
        entry(),
        entry(what="files", entry="Notes.1 20261120", why="removed elsewhere", by="lap\x1b[31mtop", files=1, bytes=7)
        | {"elsewhere": 4, "paths": ["a.txt", "sub/\x1b.txt"]},
        entry(server_knows=False, purged_at=None),
        entry(removed_at=None, purged_at=None, problems=["its note is not JSON"]),
    ]  # fmt: skip
    assert command_lines.lines({"entries": found}, UTC) == [
        "Notes: object, removed here",
        "  entry    Notes.1",
        "  removed  2026-11-20 10:00",
        "  holds    2 files, 3.0 MiB",
        "  goes     2026-12-20 10:00",
        "Notes: files of an object, removed elsewhere by lap\N{REPLACEMENT CHARACTER}[31mtop",
        "  entry    Notes.1 20261120",
        "  removed  2026-11-20 10:00",
        "  holds    1 file, 7 B, 4 more on the storage host",
        "  file     a.txt",
        "  file     sub/\N{REPLACEMENT CHARACTER}.txt",
        "           and 3 more",
        "  goes     2026-12-20 10:00",
        "Notes: object, removed here",
        "  entry    Notes.1",
        "  removed  2026-11-20 10:00",
        "  holds    2 files, 3.0 MiB",
        "  goes     not before the server is told of the removal",
        "Notes: object, removed here",
        "  entry    Notes.1",
        "  removed  at an unknown time",
        "  holds    2 files, 3.0 MiB",
        "  goes     only when the trash is emptied",
        "  problem  its note is not JSON",
        "4 entries, 9.0 MiB: `oaiofs trash restore NAME` brings one back.",
    ]
