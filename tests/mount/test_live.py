"""Real mounts that look at the server once an hour: what they see of each other comes through requests it holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faultproxy import proxy_in_thread
from tests.mountkit import Account, MountKit, MountMaker, mounting, needs_fuse, wait_for, wait_same
from tests.serverkit import ServerKit, serving

pytestmark = needs_fuse

AN_HOUR = 3600.0


@pytest.fixture
def two(new_mount: MountMaker) -> tuple[MountKit, MountKit]:
    return new_mount("d1", poll=AN_HOUR), new_mount("d2", poll=AN_HOUR)


def arrives(d1: MountKit, d2: MountKit, text: str) -> None:
    """What is written here shows there."""
    (d1.path / "notes" / "a.txt").write_text(text)
    wait_same(lambda: (d2.path / "notes" / "a.txt").read_text(), text)


def meet(d1: MountKit, d2: MountKit) -> None:
    (d1.path / "notes").mkdir()
    (d1.path / "notes" / "a.txt").write_text("first")
    wait_same(lambda: (d2.path / "notes" / "a.txt").read_text(), "first")


def test_changes_show_on_the_other_device_without_a_look_at_the_server(two: tuple[MountKit, MountKit]) -> None:
    d1, d2 = two
    meet(d1, d2)
    for number in range(3):
        arrives(d1, d2, f"{number} from one")
        arrives(d2, d1, f"{number} from two")
    (d2.path / "notes").rename(d2.path / "diary")
    wait_for((d1.path / "diary").exists)
    wait_for(lambda: d1.status()["live"])
    assert d1.status()["next_look"] <= 50


def test_sync_and_the_end_come_at_once(two: tuple[MountKit, MountKit]) -> None:
    d1, d2 = two
    meet(d1, d2)
    wait_for(lambda: d1.status()["live"])
    assert d1.oaiofs("sync", d1.path, "--timeout", "20").returncode == 0
    assert d1.oaiofs("umount", d1.path, "--timeout", "20").returncode == 0
    assert d1.ended(20) == 0


def test_a_server_that_is_restarted_is_waited_for_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data) as first:
        port = int(first.url.rpartition(":")[2])
        account = Account(*first.fresh_user())
    with mounting(first, account) as make:
        d1, d2 = make("d1", start=False, poll=AN_HOUR), make("d2", start=False, poll=AN_HOUR)
        with serving(data, port):
            for kit in (d1, d2):
                kit.expect(r"WARNING oaiofs\.sync\.watch: offline: ")
                kit.start()
            meet(d1, d2)
            wait_for(lambda: d1.status()["live"] and d2.status()["live"])
        with serving(data, port):
            wait_for(lambda: d1.status()["live"] and d2.status()["live"])
            arrives(d1, d2, "after it")
            arrives(d2, d1, "and back")


def test_a_network_that_cuts_what_is_held_is_polled(oaio_server: ServerKit, account: Account) -> None:
    with proxy_in_thread(oaio_server.url, holds=True) as proxy:
        behind = ServerKit(proxy.url, oaio_server.data, oaio_server.pid)
        with mounting(behind, account) as make:
            d1, d2 = make("d1"), make("d2")
            meet(d1, d2)
            proxy.add("cut_held", seconds=0.1)
            for number in range(5):
                arrives(d1, d2, f"{number} from one")
                arrives(d2, d1, f"{number} from two")
            wait_for(lambda: proxy.injected["cut_held"] >= 10, 30)
            for kit in (d1, d2):
                status = kit.status()
                assert (status["online"], status["failures"], status["errors"]) == (True, 0, [])
                assert kit.complaints() == []
            arrives(d1, d2, "without holds")


@pytest.mark.parametrize("status", [504, 502])
def test_a_proxy_that_does_not_wait_for_the_server_is_no_outage(
    oaio_server: ServerKit, account: Account, status: int
) -> None:
    with proxy_in_thread(oaio_server.url, holds=True) as proxy:
        behind = ServerKit(proxy.url, oaio_server.data, oaio_server.pid)
        with mounting(behind, account) as make:
            d1, d2 = make("d1"), make("d2")
            proxy.add("gateway", seconds=0.1, status=status)
            meet(d1, d2)
            wait_for(lambda: proxy.injected["gateway"] >= 6, 30)
            arrives(d1, d2, "once more")
            for kit in (d1, d2):
                assert kit.status()["failures"] == 0
                assert kit.complaints() == []
