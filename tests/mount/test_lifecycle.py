"""How a mount begins and ends: in order, by force, and when something is wrong from the beginning."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import pytest

from oaiofs import errors, mountinfo
from tests.clikit import command
from tests.mountkit import PATIENCE, Account, Cloud, MountKit, MountMaker, needs_fuse, wait_for, wait_same
from tests.serverkit import ServerKit

from .refusing import refused

pytestmark = needs_fuse

DEAD_MOUNT = "was left by a mount that was killed"

#: Appends numbered lines to a file, fsyncs each, and says which are safe; the file stays open.
_WRITER = """if True:
    import os, sys
    descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in range(100_000):
        os.write(descriptor, b"%08d\\n" % number)
        os.fsync(descriptor)
        os.write(1, b"%08d\\n" % number)
"""


def _sigterm(kit: MountKit) -> None:
    kit.stop(signal.SIGTERM)


def _sigint(kit: MountKit) -> None:
    kit.stop(signal.SIGINT)


def _umount(kit: MountKit) -> None:
    done = kit.oaiofs("umount", kit.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{kit.path} is unmounted.")
    assert kit.ended() == 0


def _fusermount(kit: MountKit) -> None:
    def unmounted() -> bool:
        done = subprocess.run(["fusermount3", "-u", kit.path], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0 or "busy" in done.stderr, done.stderr
        return done.returncode == 0

    wait_for(unmounted, what="the unmount")  # another test that looks at all mounts may be in it for a moment
    assert kit.ended() == 0


def close(file: BinaryIO | FileIO) -> None:
    """Close what was opened in a mount that is gone."""
    try:
        file.close()
    except OSError as error:
        assert error.errno in (errno.ENOTCONN, errno.ECONNABORTED)


endings = pytest.mark.parametrize("end", [_sigterm, _sigint, _umount, _fusermount])


@endings
def test_an_end_in_order_pushes_what_is_waiting(
    new_mount: MountMaker, cloud: Cloud, end: Callable[[MountKit], None]
) -> None:
    kit = new_mount(quiet=60.0)
    (kit.path / "late").mkdir()
    (kit.path / "late" / "a.txt").write_text("just written")
    end(kit)
    assert mountinfo.at(kit.path) is None
    assert list(kit.path.iterdir()) == []
    assert list((kit.folder / "run" / "oaiofs").glob("*.sock")) == []
    assert cloud.version(cloud.objects()["late"]) == {"a.txt": b"just written"}
    kit.start()
    assert (kit.path / "late" / "a.txt").read_text() == "just written"
    assert kit.shown("late")["state"] == "synced"


def _by_force(kit: MountKit) -> None:
    assert kit.oaiofs("umount", "--force", kit.path).returncode == 0
    assert kit.ended() == 0


@pytest.mark.parametrize("end", [_sigterm, _by_force])
def test_an_end_in_order_takes_what_a_program_has_not_closed(
    new_mount: MountMaker, cloud: Cloud, end: Callable[[MountKit], None]
) -> None:
    kit = new_mount(quiet=60.0)
    kit.expect("ending with files open for writing")
    (kit.path / "open").mkdir()
    kit.sync()
    file = open(kit.path / "open" / "a.txt", "wb", buffering=0)
    file.write(b"in the kernel's cache" * 10_000)
    end(kit)
    close(file)
    kit.start()
    assert (kit.path / "open" / "a.txt").read_bytes() == b"in the kernel's cache" * 10_000
    kit.sync()
    assert cloud.version(cloud.objects()["open"]) == {"a.txt": b"in the kernel's cache" * 10_000}


def test_umount_is_refused_while_a_program_has_a_file_open(new_mount: MountMaker, cloud: Cloud) -> None:
    kit = new_mount()
    (kit.path / "busy").mkdir()
    with open(kit.path / "busy" / "a.txt", "wb", buffering=0) as file:
        file.write(b"one")
        done = kit.oaiofs("umount", kit.path)
        assert done.returncode == 1
        assert "is in use" in done.stderr
        file.write(b" two")
    _umount(kit)
    assert cloud.version(cloud.objects()["busy"]) == {"a.txt": b"one two"}


def test_kill_keeps_every_fsynced_byte_and_the_next_mount_pushes_it(d1: MountKit, cloud: Cloud) -> None:
    d1.expect(DEAD_MOUNT)
    log, closed = d1.path / "killed" / "log", d1.path / "killed" / "closed.txt"
    log.parent.mkdir()
    d1.sync()
    for round_ in range(3):
        command = [sys.executable, "-c", _WRITER, str(log)]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert writer.stdout is not None
        with writer, writer.stdout:
            for _ in range(20 * (round_ + 1)):
                last = writer.stdout.readline()
            closed.write_text(f"closed before kill {round_}")
            d1.kill()
            last = (last + writer.stdout.read()).splitlines(keepends=True)[-1]
        refused(errno.ENOTCONN, lambda: os.statvfs(d1.path))
        d1.start()
        text = log.read_bytes()
        assert text.endswith(b"\n")
        assert last in text[-3 * len(last) :], "an fsynced line is missing"
        assert closed.read_text() == f"closed before kill {round_}"
    d1.sync()
    assert cloud.version(cloud.objects()["killed"]) == {"log": text, "closed.txt": closed.read_bytes()}
    assert d1.status()["conflicts"] == 0


def test_kill_in_the_middle_of_everything(d1: MountKit, d2: MountKit, cloud: Cloud) -> None:
    """Open handles of every kind, and a push that may be going on."""
    d1.expect(DEAD_MOUNT)
    place = d1.path / "busy"
    place.mkdir()
    (place / "a.txt").write_text("a")
    (place / "values.json").write_text('{"_name": "busy", "number": 1}')
    d1.sync()
    gone = open(place / "gone.txt", "wb", buffering=0)
    gone.write(b"unlinked")
    (place / "gone.txt").unlink()
    kept = open(place / "a.txt", "r+b", buffering=0)
    kept.write(b"in place")
    os.fsync(kept.fileno())
    (place / "a.txt").rename(place / "b.txt")
    sidecar = open(place / "values.json", "r+b", buffering=0)
    sidecar.write(b'{"_name": "busy", "number": 2}')
    os.fsync(sidecar.fileno())
    (place / "sub").mkdir()
    (place / "sub" / "new.bin").write_bytes(bytes(3_000_000))
    d1.kill()
    for file in (gone, kept, sidecar):
        close(file)
    d1.start()
    d1.sync()
    expected = {"b.txt": b"in place", "sub/new.bin": bytes(3_000_000)}
    assert cloud.version(cloud.objects()["busy"]) == expected
    assert cloud.objects()["busy"].values == {"_name": "busy", "number": 2}
    d2.sync()
    assert (d2.path / "busy" / "b.txt").read_bytes() == b"in place"


def test_kill_between_writing_and_closing_values_json(d1: MountKit, cloud: Cloud) -> None:
    d1.expect(DEAD_MOUNT)
    place = d1.path / "killed"
    place.mkdir()
    d1.sync()
    file = open(place / "values.json", "wb", buffering=0)
    file.write(b'{"_name": "killed", "number": 2}')
    # To the mount, but no end of the writing; by syncfs(2), as another program would close the file when it begins.
    assert ctypes.CDLL(None).syncfs(file.fileno()) == 0
    d1.kill()
    close(file)
    d1.start()
    d1.sync()
    assert cloud.objects()["killed"].values == {"_name": "killed", "number": 2}


@pytest.mark.parametrize("moment", ["registering", "uploading"])
def test_kill_while_pushing(new_mount: MountMaker, cloud: Cloud, moment: str) -> None:
    kit = new_mount(quiet=0.05, start=False)
    kit.expect(DEAD_MOUNT)
    kit.start("--limit-up=2M")  # it is still pushing when it has been seen to, whatever the machine does meanwhile
    place = kit.path / "pushed"
    place.mkdir()
    if moment == "uploading":
        kit.sync()
    (place / "big.bin").write_bytes(bytes(30_000_000))
    wait_for(lambda: kit.shown("pushed")["state"] == "pushing")
    kit.kill()
    kit.start()
    kit.sync(PATIENCE)
    assert list(cloud.objects()) == ["pushed"]
    assert cloud.version(cloud.objects()["pushed"]) == {"big.bin": bytes(30_000_000)}
    assert kit.status()["conflicts"] == 0


def test_umount_cleans_what_a_killed_mount_left(d1: MountKit) -> None:
    d1.kill()
    done = d1.oaiofs("status", d1.path)
    assert done.returncode == 3
    assert f"if it was killed, `oaiofs mount {d1.path}` cleans it up" in done.stderr
    done = d1.oaiofs("umount", d1.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert mountinfo.at(d1.path) is None
    done = d1.oaiofs("umount", d1.path)
    assert done.returncode == 3


def once(kit: MountKit, *more: str) -> tuple[int, str]:
    """Exit code and message of a mount command that is to be refused."""
    done = kit.oaiofs(*kit.words(*more), timeout=30)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_a_second_mount_of_a_client_root_is_refused(d1: MountKit) -> None:
    other = d1.folder / "other"
    other.mkdir()
    words = [str(other) if word == str(d1.path) else word for word in d1.words()]
    done = d1.oaiofs(*words, timeout=30)
    assert done.returncode == 1
    assert str(d1.client_root) in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert mountinfo.at(other) is None
    (d1.path / "still works").mkdir()
    d1.sync()


def test_a_second_mount_at_a_mountpoint_is_refused(d1: MountKit) -> None:
    code, said = once(d1, "--client-root", str(d1.folder / "other root"))
    assert code == 1
    assert f"{d1.path} is mounted already" in said
    (d1.path / "still works").mkdir()
    d1.sync()


def test_a_wrong_password_is_refused(new_mount: MountMaker, account: Account) -> None:
    kit = new_mount("wrong", Account(account.user, "not the password"), start=False)
    code, said = once(kit)
    assert code == 4
    assert account.user in said
    assert "not the password" not in said
    assert mountinfo.at(kit.path) is None


def test_a_wrong_password_is_refused_behind_a_known_client_root(new_mount: MountMaker) -> None:
    kit = new_mount()
    kit.stop()
    kit.password_file.write_text("changed meanwhile")
    assert once(kit)[0] == 4
    assert once(kit, "--daemon")[0] == 4
    assert mountinfo.at(kit.path) is None


def test_a_client_root_of_another_account_is_refused(
    new_mount: MountMaker, oaio_server: ServerKit, account: Account
) -> None:
    kit = new_mount()
    kit.stop()
    user, password = oaio_server.fresh_user("other")
    kit.password_file.write_text(password)
    code, said = once(kit, "--user", user)
    assert code == 2
    assert str(kit.client_root) in said
    assert account.user in said
    kit.password_file.write_text(account.password)
    kit.start()


@pytest.mark.parametrize("wrong", ["missing", "full", "a file"])
def test_a_mountpoint_that_is_none_is_refused(new_mount: MountMaker, wrong: str) -> None:
    kit = new_mount(start=False)
    if wrong == "full":
        (kit.path / "mine.txt").write_text("mine")
    else:
        kit.path.rmdir()
    if wrong == "a file":
        kit.path.touch()
    code, said = once(kit)
    assert code == 2
    assert str(kit.path) in said


def test_a_mount_in_the_background(new_mount: MountMaker, cloud: Cloud) -> None:
    kit = new_mount(start=False)
    done = subprocess.run(
        command(*kit.words("--daemon")), stdin=subprocess.DEVNULL, capture_output=True, text=True, env=kit.environ,
        timeout=60, check=False, cwd=kit.folder,
    )  # fmt: skip
    try:
        assert (done.returncode, done.stderr) == (0, "")
        assert f"is mounted at {kit.path}" in done.stdout
        (kit.path / "behind").mkdir()
        kit.sync()
        assert "behind" in cloud.objects()
        [log] = kit.client_root.glob("*.log")
        assert not re.search("WARNING|ERROR|Traceback", log.read_text())
        assert log.stat().st_mode & 0o777 == 0o600
        code, said = once(kit, "--daemon")
        assert (code, "is mounted already" in said) == (1, True)
    finally:
        done = kit.oaiofs("umount", kit.path)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_read_only_mount(d1: MountKit, new_mount: MountMaker) -> None:
    place = d1.path / "shown"
    place.mkdir()
    (place / "a.txt").write_text("a")
    d1.sync()
    kit = new_mount("reader", arguments=("--read-only",))
    there = kit.path / "shown"
    wait_for(there.exists)
    assert (there / "a.txt").read_text() == "a"
    attempts: tuple[Callable[[], object], ...] = (
        (kit.path / "new").mkdir, (there / "new").touch, (there / "a.txt").unlink, (there / "sub").mkdir,
        lambda: (there / "a.txt").write_text("b"), lambda: (there / "a.txt").rename(there / "b"),
        lambda: there.rename(kit.path / "other"), lambda: (there / "a.txt").chmod(0o600),
        lambda: os.truncate(there / "a.txt", 0), lambda: os.utime(there / "a.txt"),
        lambda: os.setxattr(there / "a.txt", "user.x", b"x"), lambda: (there / "values.json").write_text("{}"),
    )  # fmt: skip
    for attempt in attempts:
        refused(errno.EROFS, attempt)
    (place / "a.txt").write_text("changed by d1")
    wait_same(lambda: (there / "a.txt").read_text(), "changed by d1")


def test_the_client_root_is_private_and_of_ordinary_files(d1: MountKit) -> None:
    (d1.path / "mine").mkdir()
    (d1.path / "mine" / "a.txt").write_text("a")
    assert d1.client_root.stat().st_mode & 0o777 == 0o700
    assert [path.read_text() for path in Path(d1.client_root / "objects").rglob("a.txt")] == ["a"]
    secret = d1.account.password.encode()
    d1.sync()
    assert [path for path in d1.client_root.rglob("*") if path.is_file() and secret in path.read_bytes()] == []


@pytest.fixture
def connections(tmp_path: Path) -> Iterator[Path]:
    """The kernel's doors to all FUSE connections."""
    place = tmp_path / "connections"
    place.mkdir()
    subprocess.run(["mount", "-t", "fusectl", "none", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_a_connection_that_is_broken_off_is_an_end_in_order(d1: MountKit, connections: Path) -> None:
    (d1.path / "notes").mkdir()
    (d1.path / "notes" / "a.txt").write_text("kept")
    (connections / str(os.minor(os.stat(d1.path).st_dev)) / "abort").write_text("1")
    assert d1.ended() == 0, d1.log
    assert mountinfo.at(d1.path) is None
    d1.start()
    assert (d1.path / "notes" / "a.txt").read_text() == "kept"


def test_the_socket_answers_only_once_the_mount_is_there(new_mount: MountMaker) -> None:
    kit = new_mount(start=False)
    kit.process = subprocess.Popen(
        command(*kit.words()), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=kit.environ, start_new_session=True,
    )  # fmt: skip

    def answered() -> bool:
        try:
            return bool(kit.status())
        except errors.NotMounted:
            return False

    wait_for(answered, what="an answer")
    assert mountinfo.at(kit.path) is not None
    kit.stop()
