"""An object in a client root that will not end in order: kit of the tests of what the next start finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from oaiofs.cache.store import Head
from tests.cache.conftest import Root, fact, remote_object

LATER = "20260202000000000000"


@pytest.fixture
def head(root: Root) -> Head:
    """An object with two agreed files, in a client root that will not end in order."""
    made = root.object()
    root.file(made.ino, "a.txt", b"first")
    root.file(made.ino, "b.txt", b"second")
    root.agree(made)
    return made


def place(root: Root, head: Head, path: str) -> Path:
    return root.path / "objects" / head.folder / path


def is_dirty(root: Root, head: Head) -> bool:
    return root.store.record(head.key).dirty


def with_placeholder(root: Root, head: Head) -> None:
    """Make a.txt a file that is not downloaded."""
    files = {"a.txt": fact(b"far"), "b.txt": root.store.base_files(head.key)["b.txt"]}
    root.pull(head, remote_object({"_name": "Notes"}, files, LATER), files)
