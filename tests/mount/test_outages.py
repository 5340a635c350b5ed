"""A real mount behind a proxy that spoils what passes: a network to sign in to, a server gone and back, no room."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

import pytest

from tests.faultproxy import ThreadedProxy, proxy_in_thread
from tests.mountkit import Account, Cloud, MountKit, mounting, needs_fuse, wait_for, wait_same
from tests.serverkit import ServerKit

from .refusing import refused

pytestmark = needs_fuse

OUTAGE = (r"WARNING oaiofs\.sync\.watch: offline: ", r"WARNING oaiofs\.sync: \w+ of ")


@pytest.fixture
def proxy(oaio_server: ServerKit) -> Iterator[ThreadedProxy]:
    with proxy_in_thread(oaio_server.url) as proxy:
        yield proxy


@pytest.fixture
def devices(oaio_server: ServerKit, proxy: ThreadedProxy, account: Account) -> Iterator[Callable[[str], MountKit]]:
    behind = ServerKit(proxy.url, oaio_server.data, oaio_server.pid)
    with mounting(behind, account) as make:

        def make_quiet(name: str) -> MountKit:
            kit = make(name)
            kit.expect(*OUTAGE)
            return kit

        yield make_quiet


def test_a_network_to_sign_in_to_and_a_server_that_goes_and_comes_back(
    devices: Callable[[str], MountKit], proxy: ThreadedProxy, cloud: Cloud
) -> None:
    d1, d2 = devices("d1"), devices("d2")
    here, there = d1.path / "known", d2.path / "known"
    here.mkdir()
    (here / "a.txt").write_text("a")
    (here / "b.txt").write_text("b")
    d1.sync()
    wait_for(there.exists)

    portal = proxy.add("page")
    wait_same(lambda: [kit.status()["online"] for kit in (d1, d2)], [False, False])
    said = d1.oaiofs("status", d1.path).stdout
    assert "sign in" in said
    assert "tried again" in said
    assert d1.oaiofs("sync", d1.path).returncode == 5
    assert sorted(path.name for path in there.iterdir()) == ["a.txt", "b.txt", "values.json"]
    refused(errno.ENETUNREACH, (there / "a.txt").read_bytes)
    (here / "a.txt").write_text("behind the portal")
    (there / "b.txt").unlink()
    proxy.faults.remove(portal)
    with proxy.gone():
        (here / "c.txt").write_text("while it was gone")
        assert d1.oaiofs("sync", d1.path).returncode == 5
        assert d1.status()["pending"] == 1
    for kit in (d1, d2, d1):
        kit.sync()
    expected = {"a.txt": b"behind the portal", "c.txt": b"while it was gone"}
    assert cloud.version(cloud.objects()["known"]) == expected
    for place in (here, there):
        assert {path.name: path.read_bytes() for path in place.iterdir() if path.suffix == ".txt"} == expected
    assert proxy.injected["page"] > 2


def test_a_full_storage_is_told_and_what_needs_no_room_goes_on(
    devices: Callable[[str], MountKit], proxy: ThreadedProxy, cloud: Cloud
) -> None:
    kit = devices("d1")
    big, small = kit.path / "big", kit.path / "small"
    big.mkdir()
    small.mkdir()
    kit.sync()
    for account in (cloud.server.data / "storage").iterdir():  # room that other tests make is none for this one
        proxy.add("page", "GET", f"*/mounts/{account.name}")
    full = proxy.add("status", "POST", "*/files/put", status=413)
    (big / "film").write_bytes(b"x" * 100_000)
    wait_same(lambda: kit.shown("big").get("state"), "error")
    (small / "values.json").write_text('{"_name": "small", "k": 1}')
    wait_same(lambda: cloud.objects()["small"].values, {"_name": "small", "k": 1})
    said = kit.oaiofs("status", big).stdout
    assert "full" in said
    assert "Make room there" in said
    assert "tried again in 5 min" in said or "tried again in 4 min" in said or "tried again in 6 min" in said
    assert kit.oaiofs("sync", kit.path).returncode == 1
    assert (big / "film").read_bytes() == b"x" * 100_000
    assert proxy.injected["status 413"] == 2, "once, and once more as asked for"
    assert proxy.injected["page"], "the storage does not tell its room"
    proxy.faults.remove(full)
    kit.sync()
    assert cloud.version(cloud.objects()["big"]) == {"film": b"x" * 100_000}
    assert kit.shown("big")["error"] == ""
