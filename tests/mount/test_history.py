"""``OBJECT/.versions`` in real mounts: what ordinary programs see of stored versions, and what they may not do."""

from __future__ import annotations

import errno
import functools
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from oaiofs.core.model import Right
from tests.mountkit import Account, Cloud, MountKit, MountMaker, mounting, needs_fuse, tree, wait_for
from tests.serverkit import ServerKit

from .switched import SwitchedServer, server
from .trees import waits_for_mount

__all__ = ["server"]

pytestmark = needs_fuse


def refusal(attempt: Callable[[], object]) -> str:
    """The errno that *attempt* fails with."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what counts
        attempt()
    return errno.errorcode[caught.value.errno or 0]


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def account_of(server: SwitchedServer) -> Account:
    return Account(*server.kit.fresh_user("offline"))


@pytest.fixture
def quiet() -> float:
    """One set of edits is one version, however long it takes: nothing is sent before ``sync``."""
    return 60.0


@pytest.fixture
def notes(d1: MountKit) -> Path:
    """An object of two versions with files."""
    folder = d1.path / "notes"
    folder.mkdir()
    (folder / "letter.txt").write_text("old\n")
    (folder / "deep/er").mkdir(parents=True)
    (folder / "deep/er/b.bin").write_bytes(bytes(range(256)) * 100)
    os.utime(folder / "letter.txt", ns=(10**18, 10**18))
    d1.sync()
    (folder / "letter.txt").write_text("new\n")
    (folder / "values.json").write_text('{"_name": "notes", "x": 1}')
    shutil.rmtree(folder / "deep")
    d1.sync()
    return folder


OLD = {"letter.txt": b"old\n", "deep": None, "deep/er": None, "deep/er/b.bin": bytes(range(256)) * 100}


def versions(folder: Path) -> list[str]:
    return sorted(os.listdir(folder / ".versions"))


def test_programs_see_all_versions_whole(notes: Path, cloud: Cloud, tmp_path: Path) -> None:
    old, new = versions(notes)
    assert [old, new] == cloud.stamps("notes")
    listed = run("ls", "-la", notes / ".versions" / old)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "letter.txt" in listed.stdout
    assert run("cat", notes / ".versions" / old / "letter.txt").stdout == "old\n"
    copied = run("cp", "-a", notes / ".versions" / old, tmp_path / "copy")
    assert (copied.returncode, copied.stderr) == (0, "")
    values = b'{\n  "_name": "notes"\n}\n'
    assert tree(tmp_path / "copy") == {**OLD, "values.json": values}
    assert (tmp_path / "copy/letter.txt").stat().st_mtime_ns == 10**18
    compared = run("diff", "-r", notes / ".versions" / old, tmp_path / "copy")
    assert (compared.returncode, compared.stdout) == (0, "")
    compared = run("diff", "-r", notes / ".versions" / new, notes)
    assert compared.stdout.splitlines() == [f"diff -r {notes}/.versions/{new}/values.json {notes}/values.json"] or (
        compared.returncode == 1 and "values.json" in compared.stdout
    )  # the sidecar here is as its editor wrote it
    assert json.loads((notes / ".versions" / new / "values.json").read_text()) == {"_name": "notes", "x": 1}


def test_it_is_hidden_and_nothing_descends_into_it(notes: Path, d1: MountKit, tmp_path: Path) -> None:
    assert versions(notes)
    assert run("ls", "-A", notes).stdout.split() == ["letter.txt", "values.json"]
    assert ".versions" not in run("find", notes).stdout
    assert run("du", "-a", notes).stdout.count("\n") == 3
    if shutil.which("rsync"):
        run("rsync", "-a", f"{notes}/", tmp_path / "synced")
        assert sorted(os.listdir(tmp_path / "synced")) == ["letter.txt", "values.json"]
    removed = run("rm", "-r", notes)
    assert (removed.returncode, removed.stderr) == (0, "")
    assert not notes.exists()


CHANGES: dict[str, Callable[[Path, Path], object]] = {
    "write": lambda top, file: open(file, "w"),
    "append": lambda top, file: open(file, "ab"),
    "create": lambda top, file: open(file.parent / "new", "x"),
    "mkdir": lambda top, file: os.mkdir(file.parent / "new"),
    "mkdir in .versions": lambda top, file: os.mkdir(top / "20260101000000000001"),
    "unlink": lambda top, file: os.unlink(file),
    "rmdir": lambda top, file: os.rmdir(file.parent),
    "rmdir .versions": lambda top, file: os.rmdir(top),
    "rename": lambda top, file: os.rename(file, file.parent / "other"),
    "rename out": lambda top, file: os.rename(file, top.parent / "other"),
    "rename in": lambda top, file: os.rename(top.parent / "letter.txt", file.parent / "other"),
    "rename over": lambda top, file: os.rename(top.parent / "letter.txt", file),
    "rename .versions": lambda top, file: os.rename(top, top.parent / "other"),
    "rename a version": lambda top, file: os.rename(file.parent, top / "other"),
    "link": lambda top, file: os.link(file, file.parent / "other"),
    "symlink": lambda top, file: os.symlink("x", file.parent / "other"),
    "mkfifo": lambda top, file: os.mkfifo(file.parent / "other"),
    "chmod": lambda top, file: os.chmod(file, 0o600),
    "chown": lambda top, file: os.chown(file, 1, 1),
    "utime": lambda top, file: os.utime(file),
    "truncate": lambda top, file: os.truncate(file, 0),
    "setxattr": lambda top, file: os.setxattr(file, "user.x", b"1"),
    "removexattr": lambda top, file: os.removexattr(file, "user.x"),
}


def test_every_change_is_refused_with_erofs(notes: Path) -> None:
    top = notes / ".versions"
    file = top / versions(notes)[0] / "letter.txt"
    seen = {}
    for name, change in CHANGES.items():
        seen[name] = refusal(functools.partial(change, top, file))
    assert seen == dict.fromkeys(CHANGES, "EROFS")
    with pytest.raises(FileExistsError):
        os.mkdir(top)
    assert file.read_text() == "old\n"
    assert (notes / "letter.txt").read_text() == "new\n"


def test_what_is_not_there_is_not_there(notes: Path) -> None:
    old = versions(notes)[0]
    for name in ("x", "20260101000000000001", old[:8], ".", f"{old}/nothing", f"{old}/deep/no"):
        assert os.path.exists(notes / ".versions" / name) is (name == ".")
    with pytest.raises(NotADirectoryError):
        os.listdir(notes / ".versions" / old / "letter.txt")


def test_inodes_are_stable_and_no_others(notes: Path, d1: MountKit) -> None:
    def inodes() -> dict[str, int]:
        found = {}
        for folder, _, names in os.walk(notes / ".versions"):
            found[folder] = os.stat(folder).st_ino
            found |= {os.path.join(folder, name): os.lstat(os.path.join(folder, name)).st_ino for name in names}
        return found

    before = inodes()
    assert len(before) == 10
    assert len(set(before.values())) == len(before)
    others = {os.lstat(path).st_ino for path in [notes, *notes.rglob("*"), *(d1.path / ".oaiofs/by-id").iterdir()]}
    assert not others & set(before.values())
    for entry in os.scandir(notes / ".versions"):
        assert entry.inode() == before[entry.path]
    (notes / "letter.txt").write_text("newer\n")
    d1.sync()
    wait_for(lambda: len(versions(notes)) == 3)
    after = inodes()
    assert {path: after[path] for path in before} == before


def test_offline_what_was_seen_can_be_seen_and_the_rest_is_refused_at_once(
    server: SwitchedServer, account_of: Account
) -> None:
    with mounting(server.kit, account_of) as make:
        kit = make("d1", quiet=60.0)
        folder = kit.path / "notes"
        folder.mkdir()
        for text in ("one\n", "two\n"):
            (folder / "a.txt").write_text(text)
            (folder / "b.txt").write_text(text * 2)
            kit.sync()
        old, new = versions(folder)
        assert (folder / ".versions" / old / "a.txt").read_text() == "one\n"
        (kit.path / "other").mkdir()
        kit.sync()
        kit.expect("offline: ")
        server.off()
        wait_for(lambda: not kit.status()["online"])
        assert versions(folder) == [old, new]
        assert sorted(os.listdir(folder / ".versions" / old)) == ["a.txt", "b.txt", "values.json"]
        assert (folder / ".versions" / old / "a.txt").read_text() == "one\n"
        assert (folder / ".versions" / new / "a.txt").read_text() == "two\n", "that is here as a working copy"
        assert refusal((folder / ".versions" / old / "b.txt").read_bytes) == "ENETUNREACH"
        assert refusal(lambda: os.listdir(kit.path / "other/.versions")) == "ENETUNREACH"
        assert refusal(lambda: os.stat(kit.path / "other/.versions/20260101000000000001")) == "ENETUNREACH"
        assert os.stat(kit.path / "other/.versions").st_mode & 0o777 == 0o755
        server.on()
        kit.sync()
        assert (folder / ".versions" / old / "b.txt").read_text() == "one\none\n"
        assert len(os.listdir(kit.path / "other/.versions")) == 1


def test_who_waits_for_history_can_be_interrupted(server: SwitchedServer, account_of: Account) -> None:
    with mounting(server.kit, account_of) as make:
        kit = make("d1", poll=60.0, quiet=60.0)
        (kit.path / "notes").mkdir()
        (kit.path / "notes/a.txt").write_text("one\n")
        kit.sync()
        with server.hanging():
            reader = subprocess.Popen(["ls", kit.path / "notes/.versions"], stdout=subprocess.DEVNULL)
            wait_for(lambda: waits_for_mount(reader.pid), what="the listing")
            assert sorted(os.listdir(kit.path / "notes")) == ["a.txt", "values.json"], "nobody else waits"
            assert reader.poll() is None
            reader.send_signal(signal.SIGINT)
            assert reader.wait(25) != 0, "less than the server is waited for"
        assert len(versions(kit.path / "notes")) == 1


def test_another_users_mount_shows_it_too(
    notes: Path, d1: MountKit, cloud: Cloud, oaio_server: ServerKit, new_mount: MountMaker
) -> None:
    friend = Account(*oaio_server.fresh_user("friend"))
    cloud.share(cloud.objects()["notes"], friend.user, Right.READ)
    theirs = new_mount("friend", friend).path / "notes"
    wait_for(theirs.exists)
    assert versions(theirs) == versions(notes)
    old = theirs / ".versions" / versions(theirs)[0]
    assert {path: data for path, data in tree(old).items() if path != "values.json"} == OLD
    assert refusal(lambda: (old / "letter.txt").write_text("x")) == "EROFS"
