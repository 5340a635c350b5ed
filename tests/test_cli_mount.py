"""Beginning, watching and ending real mounts by the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from oaiofs import control, mountinfo
from tests.clikit import command, home, oaiofs, private, refused
from tests.serverkit import ServerKit, oaio_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["home", "oaio_server"]

pytestmark = [
    pytest.mark.usefixtures("home"),
    pytest.mark.fuse,
    pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="needs /dev/fuse"),
]


@pytest.fixture
def place(home: Path, oaio_server: ServerKit) -> Iterator[Path]:
    """An empty mountpoint of a user who is logged in; whatever is mounted there at the end is taken away."""
    name, password = oaio_server.fresh_user("alice")
    login = oaiofs("login", oaio_server.host, "--user", name, "--password-file", private(home / "pw", password))
    assert login.returncode == 0, login.stderr
    place = home / "place"
    place.mkdir()
    yield place
    for mount in control.running():
        os.kill(mount.pid, signal.SIGKILL)
        mountinfo.wait_ended(mount.pid, 10)
    if mountinfo.at(place) is not None:
        oaiofs("umount", place)


@contextmanager
def foreground(place: Path, *flags: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command("mount", place, *flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        assert "is mounted at" in first, process.stderr.read()
        try:
            yield process
        finally:
            process.kill()


def daemon(place: Path) -> None:
    done = oaiofs("mount", place, "--daemon", "--quiet-time", "0.2", "--poll-interval", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"`oaiofs umount {place}` ends it" in done.stdout


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, None])
def test_a_mount_in_the_foreground_lasts_until_it_is_told_to_end(place: Path, ending: signal.Signals | None) -> None:
    with foreground(place) as process:
        assert os.path.ismount(place)
        if ending is not None:
            process.send_signal(ending)
        else:
            done = oaiofs("umount", place)
            assert (done.returncode, done.stderr) == (0, "")
            assert f"{place} is unmounted." in done.stdout
        assert process.wait(30) == 0
        assert not os.path.ismount(place)
        assert control.running() == []


def test_a_mount_in_the_background_answers_every_command(place: Path) -> None:
    daemon(place)
    assert os.path.ismount(place), "it answers when the command returns"
    (mount,) = control.running()
    assert os.getsid(mount.pid) == mount.pid
    log = mount.client_root / "oaiofs.log"
    assert log.stat().st_mode & 0o777 == 0o600

    os.mkdir(place / "notes")
    (place / "notes" / "todo.txt").write_text("water the tomatoes\n")
    done = oaiofs("sync", "--timeout", "30", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    status = json.loads(oaiofs("status", "--json").stdout)
    assert status["mountpoint"] == str(place)
    assert set(status) >= {"server", "user", "device_id", "online", "pending_since", "conflicts", "errors"}
    assert (status["pending"], status["online"]) == (0, True)
    (notes,) = status["objects"]
    assert {**notes}.keys() >= {"id", "name", "state", "stamp", "right"}
    assert (notes["name"], notes["state"], notes["right"]) == ("notes", "synced", "C")
    assert "1 object: 1 synced" in oaiofs("status", place).stdout
    assert f"  id       {notes['id']}" in oaiofs("status", place / "notes" / "todo.txt").stdout

    refused(oaiofs("mount", place), 1, "mounted already")
    refused(oaiofs("mount", place, "--daemon"), 1, "mounted already")
    done = oaiofs("umount", place, "--flush", "--timeout", "30", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert not os.path.ismount(place)
    refused(oaiofs("status"), 3)
    daemon(place)  # the client root is free as soon as `umount` has returned
    assert (place / "notes" / "todo.txt").read_text() == "water the tomatoes\n"
    assert oaiofs("umount", place).returncode == 0


def test_a_killed_mount_is_not_mounted_and_its_mountpoint_can_be_freed(place: Path) -> None:
    daemon(place)
    (mount,) = control.running()
    os.kill(mount.pid, signal.SIGKILL)
    mountinfo.wait_ended(mount.pid, 10)
    with pytest.raises(OSError, match="not connected"):
        os.statvfs(place)  # os.stat may be answered from the kernel's memory
    refused(oaiofs("status", place), 3)
    done = oaiofs("umount", place)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Its process was gone" in done.stdout
    assert not os.path.ismount(place)
    refused(oaiofs("umount", place), 3)


@pytest.mark.parametrize("look", [False, True])
def test_a_mount_over_a_killed_one_goes_on(place: Path, look: bool) -> None:
    daemon(place)
    os.mkdir(place / "notes")
    if look:
        os.stat(place)  # the kernel remembers the answer, also when nobody is there any more
    (mount,) = control.running()
    os.kill(mount.pid, signal.SIGKILL)
    mountinfo.wait_ended(mount.pid, 10)
    daemon(place)
    assert os.listdir(place) == ["notes"]
    assert oaiofs("umount", place).returncode == 0


def test_changes_that_can_not_be_flushed_keep_it_mounted_or_are_kept(home: Path, place: Path) -> None:
    from tests.serverkit import serving

    with serving(home / "own-server") as own:
        own.add_user("bob", "pw")
        account = ["--server", own.host, "--user", "bob"]
        done = oaiofs("mount", place, *account, "--daemon", "--quiet-time", "0.2", OAIOFS_PASSWORD="pw")
        assert done.returncode == 0, done.stderr
    os.mkdir(place / "offline")
    refused(oaiofs("umount", place, "--flush", "--timeout", "20"), 5)
    assert os.path.ismount(place)
    refused(oaiofs("sync", place, "--timeout", "20"), 5)
    done = oaiofs("umount", place)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Changes not on the servers yet: 1" in done.stdout


def test_a_mountpoint_that_is_none_is_told_also_by_the_background(home: Path, place: Path) -> None:
    for flags in ([], ["--daemon"]):
        refused(oaiofs("mount", home / "nowhere", *flags), 2, str(home / "nowhere"), "mkdir -p")
    (place / "file").write_text("")
    refused(oaiofs("mount", place, "--daemon"), 2, "not empty")
    (place / "file").unlink()
