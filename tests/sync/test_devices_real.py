"""The stories of ``test_devices`` on the real self-hosted server over loopback, with the existing client itself.

Time is real here, so no two runs take the same course: what fails is best looked for again on the in-memory twins.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.depth import examples
from tests.httpworld import HttpWorld, live
from tests.realpeer import PeerProcess, RealPeer, peers
from tests.serverkit import ServerKit, oaio_server

from .story import Story
from .test_devices import ops, tell_whole

__all__ = ["oaio_server", "peers"]

#: A day with something of everything: both sides of a conflict, an outage, lost answers, a crash, an open file.
DAY: list[tuple[Any, ...]] = [
    ("write", 1, "A/g", True), ("write_long", 0, "A/d/h"), ("wait", 12.0), ("offline", 1, True),
    ("set_value", 0, "A", "k"), ("set_value", 1, "A", "k"), ("set_value", 1, "A", "l"),
    ("write", 0, "A/f", False), ("write", 1, "A/f", True), ("edit_line", 0, "A/d/h", 3), ("delete", 0, "A/g"),
    ("write", 1, "A/g", False), ("wait", 12.0), ("offline", 1, False), ("wait", 12.0), ("fault", 0, "upload", True),
    ("fault", 0, "put", False), ("write", 0, "A/g", True), ("make", 1, "B"), ("fault", 1, "register", True),
    ("hold", 1, "B/f"), ("wait", 5.0), ("restart", 1, False), ("rename", 0, "A/f", "A/d/f"), ("wait", 40.0),
    ("end_conflicts", 0, "A", "mine"), ("write", 1, "A/d/f", False),
]  # fmt: skip
#: The existing client was away, and overwrites what it has not seen.
PEER_DAY: list[tuple[Any, ...]] = [
    ("peer_write", "A/f"), ("peer_value", "A", "l"), ("wait", 12.0), ("peer_offline", True), ("peer_value", "A", "k"),
    ("peer_write", "A/g"), ("write", 0, "A/f", True), ("write", 1, "A/d/h", False), ("set_value", 1, "A", "l"),
    ("wait", 12.0), ("write", 1, "A/f", False), ("peer_offline", False), ("peer_write", "A/f"), ("wait", 5.0),
    ("write", 0, "A/f", True),
]  # fmt: skip
#: Nothing is made smaller: a second try of the same steps takes another course.
SETTINGS = settings(
    max_examples=examples(2),
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=True,
)


def play(kit: ServerKit, count: int, steps: list[tuple[Any, ...]], process: PeerProcess | None = None) -> None:
    async def run(world: HttpWorld) -> None:
        devices = [await world.syncing(f"d{number}") for number in range(count)]
        peer = RealPeer(process, kit, world.account, world.folder / "peer") if process else None
        await tell_whole(Story(world, devices, peer), steps)

    live(kit, run)


@SETTINGS
@given(st.sampled_from((2, 3)), ops())
@example(2, DAY)
@example(3, [*DAY, ("offline", 2, True), ("remove_object", 0, "A"), ("write", 2, "A/f", True), ("wait", 40.0)])
def test_two_or_three_devices(oaio_server: ServerKit, count: int, steps: list[tuple[Any, ...]]) -> None:
    play(oaio_server, count, steps)


@pytest.mark.peer
@SETTINGS
@given(ops(deleting=False, peer=True))
@example(PEER_DAY)
def test_two_devices_and_the_existing_client(
    oaio_server: ServerKit, peers: PeerProcess, steps: list[tuple[Any, ...]]
) -> None:
    play(oaio_server, 2, steps, peers)
