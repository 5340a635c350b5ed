"""``oaiofs pin``, ``unpin`` and ``evict`` as users run them on a client root without a mount, and their words."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from oaiofs.cache import apply, objects, records, tree
from oaiofs.cache.store import Store
from oaiofs.cli import copies
from tests.clikit import home, oaiofs, refused

__all__ = ["home"]

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def root(home: Path) -> Path:
    """A client root whose object Notes has a.txt and d/b.txt agreed, and new.txt unsent."""
    place = home / "root"
    store = Store(place)
    store.state.set_meta("device_id", "laptop")
    store.state.set_meta("account", "alice http://localhost")
    head = objects.create(store, "Notes", csh_id="Digi", username="alice", device_id="laptop", app_id="oaiofs")
    folder = tree.make_folder(store, head.ino, "d", 0o755)
    files = {}
    for parent, name, path in ((head.ino, "a.txt", "a.txt"), (folder.ino, "b.txt", "d/b.txt")):
        node, descriptor = tree.create_file(store, parent, name, 0o644)
        os.write(descriptor, name.encode())
        status = os.fstat(descriptor)
        os.close(descriptor)
        store.marked.clear()
        md5 = hashlib.md5(name.encode()).hexdigest()
        assert apply.hashed(store, node.ino, 0, status.st_size, md5, status.st_mtime_ns)
        files[path] = store.node(node.ino).fact
    store.update_object(head.key, oaio_id="the id", base_stamp="20260101000000000000", base_values={"_name": "Notes"})
    records.set_base_files(store.db, head.key, files)
    _, descriptor = tree.create_file(store, head.ino, "new.txt", 0o644)
    os.close(descriptor)
    store.close(clean=True)
    return place


def here(root: Path) -> set[str]:
    return {path.name for path in (root / "objects").glob("*/**/*.txt")}


def test_evicting_and_pinning_on_a_client_root(root: Path) -> None:
    done = oaiofs("pin", "Notes/d", "--client-root", root)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "Notes/d is pinned.\n")
    done = oaiofs("evict", "the id", "--client-root", root)
    assert done.stdout == (
        "1 file evicted, 4.0 KiB freed.\n1 file kept: changed here, and not sent yet.\n1 file kept: pinned.\n"
    )
    assert here(root) == {"b.txt", "new.txt"}
    done = oaiofs("pin", "Notes", "--client-root", root)
    assert done.stdout.splitlines() == [
        "Notes is pinned.", "1 file of what is pinned is not here yet: downloaded once it is mounted."
    ]  # fmt: skip
    done = oaiofs("unpin", "Notes", "--json", "--client-root", root)
    assert json.loads(done.stdout) == {"unpinned": [{"path": "Notes", "pins": 2}], "held": []}
    done = oaiofs("evict", "Notes/d/b.txt", "Notes/a.txt", "--client-root", root)
    assert done.stdout == "1 file evicted, 4.0 KiB freed.\n1 file not downloaded before.\n"
    assert here(root) == {"new.txt"}
    assert oaiofs("check", "--deep", "--client-root", root).returncode == 0


def test_what_is_no_path_here(root: Path) -> None:
    for command in ("pin", "unpin", "evict"):
        refused(oaiofs(command, "Notes/nowhere", "--client-root", root), 1, "nowhere is no object, file or folder")
        refused(oaiofs(command, "Notes"), 3, "--client-root")
        assert oaiofs(command).returncode == 2


def test_the_words() -> None:
    told = copies.evicted_lines({"files": 0, "bytes": 0, "away": 0, "kept": {"pinned": 12}})
    assert list(told) == ["0 files evicted, 0 B freed.", "12 files kept: pinned."]
    told = copies.pinned_lines({"pinned": ["", "a\x1b[2J"], "missing": 2, "mounted": True})
    assert list(told) == [
        "the whole mount is pinned.", "a\N{REPLACEMENT CHARACTER}[2J is pinned.",
        "2 files of what is pinned are not here yet: downloaded now.",
    ]  # fmt: skip
    told = copies.unpinned_lines({"unpinned": [{"path": "a", "pins": 0}], "held": [{"path": "a", "by": ""}]})
    assert list(told) == ["a had no pin.", "a stays pinned with the whole mount: `oaiofs unpin` that."]
