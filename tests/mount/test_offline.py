"""The server is down, hangs, or comes back: the mount goes on, says so, and sends by itself what is waiting."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.mountkit import PATIENCE, Account, Cloud, MountKit, mounting, needs_fuse, tree, wait_for, wait_same

from .refusing import refused
from .switched import SwitchedServer, server

__all__ = ["server"]

pytestmark = needs_fuse

OFFLINE = "WARNING oaiofs.sync.watch: offline: "
KEPT = "go to the server with the next mount"
#: Less seconds than anybody waits for a server that hangs (30 at least), and more than a busy machine pauses.
AT_ONCE = 10.0


@pytest.fixture
def own_account(server: SwitchedServer) -> Account:
    return Account(*server.kit.fresh_user("offline"))


@pytest.fixture
def devices(server: SwitchedServer, own_account: Account) -> Iterator[Callable[..., MountKit]]:
    with mounting(server.kit, own_account) as make:

        def make_quiet(*arguments: object, **settings: object) -> MountKit:
            kit = make(*arguments, **settings)  # type: ignore[arg-type]
            kit.expect(OFFLINE, r"WARNING oaiofs\.sync: \w+ of ")
            return kit

        yield make_quiet


@pytest.fixture
def own_cloud(server: SwitchedServer, own_account: Account) -> Cloud:
    return Cloud(server.kit, own_account)


@contextlib.contextmanager
def at_once(limit: float = AT_ONCE) -> Iterator[None]:
    """The block takes less than *limit* seconds."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < limit


def look_at_everything(kit: MountKit, name: str) -> None:
    """Every call that does not read contents, each answered at once."""
    place = kit.path / name
    calls: tuple[Callable[[], object], ...] = (
        lambda: os.listdir(kit.path), lambda: os.listdir(place), lambda: os.statvfs(kit.path), place.stat,
        lambda: [path.stat() for path in place.rglob("*")], lambda: (place / "missing").exists(),
        lambda: (kit.path / "missing").exists(), lambda: os.listxattr(place),
        lambda: os.getxattr(place, "user.oaio.state"), lambda: (kit.path / ".oaiofs" / "status.json").read_text(),
        lambda: (place / "values.json").read_text(), kit.status,
    )  # fmt: skip
    for call in calls:
        # What waits for the network does so each time; what only met a pause of the machine does not.
        assert min(lasted(call) for _ in range(3)) < 1


def lasted(call: Callable[[], object]) -> float:
    """Seconds that *call* took."""
    begun = time.monotonic()
    with at_once():
        call()
    return time.monotonic() - begun


def filled(kit: MountKit) -> Path:
    """An object with two files, known to the servers."""
    place = kit.path / "known"
    place.mkdir()
    for name in ("a.txt", "b.txt"):
        (place / name).write_text(name)
    kit.sync()
    return place


def test_the_mount_starts_and_works_offline(
    server: SwitchedServer, devices: Callable[..., MountKit], own_cloud: Cloud
) -> None:
    filled(devices("d1"))
    kit = devices("d2")
    kit.expect(KEPT)
    place = kit.path / "known"
    wait_for(place.exists)
    assert (place / "a.txt").read_text() == "a.txt"
    kit.stop()
    server.off()
    begun = datetime.now(UTC)

    with at_once(20):
        kit.start()
    look_at_everything(kit, "known")
    assert (place / "a.txt").read_text() == "a.txt"
    with at_once():
        refused(errno.ENETUNREACH, (place / "b.txt").read_bytes)
    assert (place / "b.txt").stat().st_size == 5
    status = kit.status()
    assert (status["online"], status["pending"], status["pending_since"]) == (False, 0, None)
    assert any("127.0.0.1" in error["message"] for error in status["errors"])

    with at_once():
        (place / "a.txt").write_text("edited offline")
        (place / "b.txt").rename(place / "c.txt")
        (place / "sub").mkdir()
        (place / "sub" / "new.txt").write_text("new offline")
        (place / "values.json").write_text('{"_name": "known", "offline": true}')
        (kit.path / "born offline").mkdir()
        (kit.path / "born offline" / "x.txt").write_text("x")
    status = kit.status()
    assert (status["online"], status["pending"]) == (False, 2)
    assert begun <= datetime.fromisoformat(status["pending_since"]) <= datetime.now(UTC)
    said = kit.oaiofs("status", kit.path).stdout
    assert "offline" in said
    assert kit.oaiofs("sync", kit.path, "--timeout", "5").returncode == 5
    kit.stop()  # and over another end of the mount
    with at_once(20):
        kit.start()
    assert kit.status()["pending_since"] == status["pending_since"]

    server.on()
    wait_same(lambda: kit.status()["pending"], 0, PATIENCE)
    expected = {"a.txt": b"edited offline", "c.txt": b"b.txt", "sub/new.txt": b"new offline"}
    assert own_cloud.version(own_cloud.objects()["known"]) == expected
    assert own_cloud.objects()["known"].values == {"_name": "known", "offline": True}
    assert own_cloud.version(own_cloud.objects()["born offline"]) == {"x.txt": b"x"}
    assert kit.status()["online"] is True
    assert (place / "c.txt").read_bytes() == b"b.txt"


def test_the_server_goes_away_under_a_mount(
    server: SwitchedServer, devices: Callable[..., MountKit], own_cloud: Cloud
) -> None:
    d1, d2 = devices("d1"), devices("d2")
    here, there = filled(d1), d2.path / "known"
    wait_for(there.exists)
    server.off()
    wait_same(lambda: d2.status()["online"], False, PATIENCE)
    look_at_everything(d2, "known")
    with at_once():
        refused(errno.ENETUNREACH, (there / "a.txt").read_bytes)
    with at_once():
        (there / "b.txt").write_text("written over without being downloaded")
    with at_once():
        (there / "a.txt").unlink()
    server.on()
    wait_same(
        lambda: tree(here).get("b.txt"), b"written over without being downloaded", 2 * PATIENCE
    )
    assert not (here / "a.txt").exists()
    assert own_cloud.version(own_cloud.objects()["known"]) == {"b.txt": b"written over without being downloaded"}


def test_the_server_hangs(server: SwitchedServer, devices: Callable[..., MountKit]) -> None:
    filled(devices("d1"))
    kit = devices("d2")
    kit.expect(KEPT)
    place = kit.path / "known"
    wait_for(place.exists)
    assert (place / "a.txt").read_text() == "a.txt"
    with server.hanging():
        look_at_everything(kit, "known")
        with at_once():
            (place / "a.txt").write_text("while it hangs")
        # Nobody knows yet that the server hangs, so this download waits: alone.
        with subprocess.Popen(["cat", place / "b.txt"], stdout=subprocess.PIPE) as reader:
            with pytest.raises(subprocess.TimeoutExpired):
                reader.wait(0.7)
            look_at_everything(kit, "known")
            os.kill(server.kit.pid, signal.SIGCONT)
            assert reader.communicate(timeout=PATIENCE)[0] == b"b.txt"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_program_that_waits_for_a_download_can_be_ended(
    server: SwitchedServer, devices: Callable[..., MountKit], number: signal.Signals
) -> None:
    filled(devices("d1"))
    kit = devices("d2")
    place = kit.path / "known"
    wait_for(place.exists)
    with server.hanging(), subprocess.Popen(["cat", place / "b.txt"], stdout=subprocess.PIPE) as reader:
        with pytest.raises(subprocess.TimeoutExpired):
            reader.wait(0.7)
        with at_once():
            reader.send_signal(number)
            assert reader.wait(90) == -number
    assert (place / "b.txt").read_text() == "b.txt"


def test_a_first_mount_without_a_server(
    server: SwitchedServer, devices: Callable[..., MountKit], own_cloud: Cloud
) -> None:
    filled(devices("d1"))
    server.off()
    kit = devices("d2", start=False)
    with at_once(20):
        kit.start()
    assert os.listdir(kit.path) == []
    assert kit.status()["online"] is False
    (kit.path / "mine").mkdir()
    assert json.loads((kit.path / "mine" / "values.json").read_text()) == {"_name": "mine"}
    server.on()
    wait_same(lambda: sorted(os.listdir(kit.path)), ["known", "mine"], PATIENCE)
    wait_for(lambda: "mine" in own_cloud.objects(), PATIENCE)


def test_umount_while_offline_keeps_what_is_waiting(
    server: SwitchedServer, devices: Callable[..., MountKit], own_cloud: Cloud
) -> None:
    kit = devices("d1")
    kit.expect(KEPT)
    place = filled(kit)
    server.off()
    wait_same(lambda: kit.status()["online"], False, PATIENCE)
    (place / "a.txt").write_text("kept")
    done = kit.oaiofs("umount", "--flush", "--timeout", "2", kit.path)
    assert done.returncode in (5, 6)
    assert (place / "a.txt").read_text() == "kept"
    with at_once(20):
        done = kit.oaiofs("umount", kit.path)
    assert (done.returncode, "kept in" in done.stdout) == (0, True)
    assert kit.ended() == 0
    server.on()
    kit.start()
    wait_same(lambda: own_cloud.version(own_cloud.objects()["known"]).get("a.txt"), b"kept", PATIENCE)


def test_two_devices_edit_offline_and_both_edits_are_kept(
    server: SwitchedServer, devices: Callable[..., MountKit], own_cloud: Cloud
) -> None:
    d1, d2 = devices("d1"), devices("d2")
    here, there = filled(d1), d2.path / "known"
    wait_for(there.exists)
    assert (there / "a.txt").read_text() == "a.txt"
    server.off()
    wait_same(lambda: d1.status()["online"], False, PATIENCE)
    wait_same(lambda: d2.status()["online"], False, PATIENCE)
    (here / "a.txt").write_text("by d1")
    (here / "values.json").write_text('{"_name": "known", "d1": 1}')
    (there / "a.txt").write_text("by d2")
    (there / "new.txt").write_text("by d2")
    (there / "values.json").write_text('{"_name": "known", "d2": 2}')
    server.on()

    def settled() -> bool:
        statuses = [kit.status() for kit in (d1, d2)]
        alike = tree(here) == tree(there) and "new.txt" in tree(here)
        return alike and all(status["online"] and not status["pending"] for status in statuses)

    wait_for(settled, 2 * PATIENCE)
    found = tree(here)
    [copy] = [name for name in found if "conflict" in name]
    assert {found["a.txt"], found[copy]} == {b"by d1", b"by d2"}
    assert {name: found[name] for name in ("b.txt", "new.txt")} == {"b.txt": b"b.txt", "new.txt": b"by d2"}
    assert json.loads((here / "values.json").read_text()) == {"_name": "known", "d1": 1, "d2": 2}
    held = {name: data for name, data in found.items() if name != "values.json"}
    assert own_cloud.version(own_cloud.objects()["known"]) == held
