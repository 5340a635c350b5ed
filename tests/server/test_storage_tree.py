"""The tree on plain files: links, foreign changes, shared bytes, what a failure leaves behind."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from oaiofs.server import site


@dataclass
class Ground:
    """A tree on *root* and a way to look at its index."""

    tree: Any
    root: Path
    spool: Path
    put: Callable[..., object]


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    with site.open_site(tmp_path) as place:
        from oaiofs.server.models import StorageAccount
        from oaiofs.server.storage.disk import DraftWriter
        from oaiofs.server.storage.index import Index
        from oaiofs.server.storage.tree import PutRule, Shared, Tree

        account = StorageAccount.objects.create(email="x", password_hash="x", directory="mine")
        root = Path(place.storage, "mine")
        tree = Tree(str(root), place.spool, Index(account.pk), Shared(), None)

        def put(path: str, content: bytes, modified: int = 1000, **rule: object) -> object:
            *folder, name = path.split("/")
            with DraftWriter(place.spool) as writer:
                writer.write(content)
                return tree.put(tuple(folder), name, writer.finish(), PutRule(**rule), modified)  # type: ignore[arg-type]

        yield Ground(tree, root, Path(place.spool), put)


def _md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def test_plain_files_are_private_and_the_spool_is_left_empty(ground: Ground) -> None:
    ground.tree.make_folder((), "d")
    ground.put("d/n", b"x")
    ground.tree.copy(("d",), ("e",), None, _always())
    ground.tree.remove(("d",), _always())
    assert (ground.root / "e/n").read_bytes() == b"x"
    assert (ground.root / "e/n").stat().st_mode & 0o077 == 0
    assert (ground.root / "e").stat().st_mode & 0o077 == 0
    assert list(ground.spool.iterdir()) == []


def _always() -> object:
    from oaiofs.server.storage.tree import Condition

    return Condition()


def _refusal(call: Callable[[], object]) -> str:
    from oaiofs.server.storage.disk import StorageError

    with pytest.raises(StorageError) as caught:
        call()
    return caught.value.code


def test_links_are_not_followed(ground: Ground, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (ground.root / "folder").symlink_to(outside)
    (ground.root / "file").symlink_to(outside / "secret")
    os.mkfifo(ground.root / "pipe")
    for path in (("folder",), ("folder", "secret"), ("file",), ("pipe",), ("FILE",)):
        assert _refusal(lambda: ground.tree.info(path)) == "InvalidPath"  # noqa: B023
        assert _refusal(lambda: ground.tree.open(path)) == "InvalidPath"  # noqa: B023
        assert _refusal(lambda: ground.tree.remove(path, _always())) == "InvalidPath"  # noqa: B023
    assert _refusal(lambda: ground.put("folder/n", b"x")) == "InvalidPath"
    assert _refusal(lambda: ground.put("file", b"x", overwrite=True)) == "InvalidPath"
    assert [entry.name for entry in ground.tree.entries(())] == []
    assert [path for path, _ in ground.tree.walk(())] == ["/"]
    assert sorted(os.listdir(outside)) == ["secret"]
    assert (outside / "secret").read_text() == "secret"


def test_a_copied_folder_takes_no_links_along(ground: Ground, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    ground.tree.make_folder((), "d")
    (ground.root / "d/link").symlink_to(tmp_path / "secret")
    (ground.root / "d/folder link").symlink_to(tmp_path)
    ground.tree.copy(("d",), ("e",), None, _always())
    assert list((ground.root / "e").iterdir()) == []
    ground.tree.remove(("d",), _always())
    assert (tmp_path / "secret").read_text() == "secret"


def test_a_copy_shares_bytes_until_either_is_replaced(ground: Ground) -> None:
    ground.put("n", b"x")
    ground.tree.copy(("n",), ("m",), 2000, _always())
    assert (ground.root / "n").stat().st_ino == (ground.root / "m").stat().st_ino
    ground.put("m", b"other", overwrite=True)
    assert (ground.root / "n").read_bytes() == b"x"
    assert (ground.tree.info(("n",)).md5, ground.tree.info(("m",)).md5) == (_md5(b"x"), _md5(b"other"))


def test_where_links_are_impossible_a_copy_is_one(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **more: object) -> None:
        raise OSError(1, "no links on this file system")

    monkeypatch.setattr(os, "link", refuse)
    ground.tree.make_folder((), "d")
    ground.put("d/n", b"x" * 3_000_000, modified=5000)
    ground.tree.copy(("d",), ("e",), None, _always())
    assert (ground.root / "d/n").stat().st_ino != (ground.root / "e/n").stat().st_ino
    copied = ground.tree.info(("e", "n"))
    assert (copied.md5, copied.modified) == (_md5(b"x" * 3_000_000), 5000)


def test_foreign_changes_are_seen(ground: Ground) -> None:
    ground.put("n", b"before", modified=1000)
    (ground.root / "n").write_bytes(b"behind")  # the same size
    assert ground.tree.info(("n",)).md5 == _md5(b"behind")
    replacement = ground.root / "other"
    replacement.write_bytes(b"beyond")
    status = (ground.root / "n").stat()
    os.utime(replacement, ns=(status.st_atime_ns, status.st_mtime_ns))
    replacement.rename(ground.root / "n")  # the same size and time
    assert [entry.md5 for entry in ground.tree.entries(())] == [_md5(b"beyond")]
    (ground.root / "new").write_bytes(b"new")
    os.utime(ground.root / "new", ns=(7_000_000, 7_000_000))
    assert ground.tree.info(("new",)) == ground.tree.entries(())[1]
    assert (ground.tree.info(("new",)).md5, ground.tree.info(("new",)).modified) == (_md5(b"new"), 7)


def test_the_index_may_be_lost(ground: Ground) -> None:
    from oaiofs.server.models import StoredFile

    ground.tree.make_folder((), "d")
    ground.put("d/n", b"x", modified=1234)
    before = ground.tree.info(("d", "n"))
    StoredFile.objects.all().delete()
    assert ground.tree.info(("d", "n")) == before


def test_rows_move_with_their_files_and_nothing_else_does(ground: Ground) -> None:
    from oaiofs.server.models import StoredFile

    for name in ("a", "ab", "a b"):
        ground.tree.make_folder((), name)
        ground.put(f"{name}/n", name.encode(), modified=len(name))
    ground.tree.move(("a",), ("moved",), _always())
    paths = set(StoredFile.objects.values_list("path", flat=True))
    assert paths == {"moved/n", "ab/n", "a b/n"}
    ground.tree.remove(("ab",), _always())
    assert set(StoredFile.objects.values_list("path", flat=True)) == {"moved/n", "a b/n"}


def test_changes_within_one_tick_of_the_clock_are_remembered(ground: Ground) -> None:
    def stop_clock(folder: Path) -> None:
        os.utime(folder, ns=(5, 5))

    stop_clock(ground.root)
    assert _refusal(lambda: ground.tree.info(("name",))) == "NotFound"
    ground.put("Name", b"x")
    stop_clock(ground.root)
    assert ground.tree.info(("name",)).name == "Name"
    ground.tree.make_folder((), "Folder")
    stop_clock(ground.root)
    assert ground.tree.info(("folder",)).name == "Folder"

    (ground.root / "Folder/Old").touch()
    stop_clock(ground.root / "Folder")
    assert ground.tree.info(("folder", "old")).name == "Old"
    ground.tree.remove(("Folder",), _always())
    (ground.root / "Folder").mkdir()
    (ground.root / "Folder/New").touch()
    stop_clock(ground.root / "Folder")
    assert ground.tree.info(("folder", "new")).name == "New"


def test_a_failed_put_leaves_the_old_file(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.put("n", b"old", modified=1000)

    def fail(*args: object) -> None:
        raise OSError(28, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fail)
        assert _refusal(lambda: ground.put("n", b"new", modified=2000, overwrite=True)) == "QuotaExceeded"
    entry = ground.tree.info(("n",))
    assert (entry.md5, entry.modified) == (_md5(b"old"), 1000)
    assert list(ground.spool.iterdir()) == []


def test_a_failed_copy_leaves_nothing(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.tree.make_folder((), "d")
    ground.put("d/n", b"x")

    def fail(*args: object) -> None:
        raise OSError(5, "bad disk")

    with monkeypatch.context() as patch, contextlib.suppress(OSError):
        patch.setattr(os, "rename", fail)
        ground.tree.copy(("d",), ("e",), None, _always())
    assert _refusal(lambda: ground.tree.info(("e",))) == "NotFound"
    assert ground.tree.space()[1] == 1
    assert list(ground.spool.iterdir()) == []


def test_a_folder_that_goes_while_it_is_listed_is_an_error_item(ground: Ground) -> None:
    from oaiofs.server.storage.disk import StorageError

    ground.tree.make_folder((), "d")
    ground.tree.make_folder(("d",), "e")
    items = ground.tree.walk(())
    assert [next(items)[0], next(items)[0]] == ["/", "/d"]
    (ground.root / "d/e").rmdir()
    (ground.root / "d").rmdir()
    ((path, error),) = items
    assert path == "/d/"
    assert isinstance(error, StorageError)
