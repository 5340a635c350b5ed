"""Who may use an object, as one device sees and changes it."""

from __future__ import annotations

import pytest

from oaiofs import errors
from oaiofs.core.model import Right
from tests.devicekit import World, share, simulated
from tests.sync.stories import two_with_notes


@simulated
async def test_what_is_seen_is_asked_for_behind_ones_back(world: World) -> None:
    one, _two = await two_with_notes(world)
    sharing, key = one.transfer.sharing, one.record("Notes").key
    assert sharing.seen(key, one.user) is Right.CREATE
    share(world, "Notes", "bob", Right.READ)
    with pytest.raises(errors.NotKnownYet):
        sharing.seen(key, "bob")
    await world.quiet()
    assert sharing.seen(key, "bob") is Right.READ
    share(world, "Notes", "bob", Right.UPDATE)
    assert sharing.seen(key, "bob") is Right.READ, "as last seen"
    await world.go_on(20)
    assert sharing.seen(key, "bob") is Right.READ, "still, but that was long ago"
    await world.quiet()
    assert sharing.seen(key, "bob") is Right.UPDATE
    await sharing.unshare(key, "bob")
    assert sharing.seen(key, "bob") is Right.NONE


@simulated
async def test_an_answer_of_before_the_own_change_is_not_believed(world: World) -> None:
    one, _two = await two_with_notes(world)
    sharing, key = one.transfer.sharing, one.record("Notes").key
    share(world, "Notes", "bob", Right.READ)
    one.server.faults.late = 5.0
    world.nursery.start_soon(sharing.users, key)
    await world.go_on(1)
    one.server.faults.late = 0.0
    await sharing.share(key, "bob", Right.UPDATE)
    await world.go_on(5)
    assert sharing.seen(key, "bob") is Right.UPDATE


@simulated
async def test_offline_only_what_is_known_here_is_told(world: World) -> None:
    one, _two = await two_with_notes(world)
    share(world, "Notes", "bob", Right.UPDATE)
    his = await world.syncing("his", user="bob")
    await world.go_on(20)
    his.offline = one.offline = True
    await world.go_on(40)
    mine, theirs = one.transfer.sharing, his.transfer.sharing
    with pytest.raises(errors.AccessDenied, match="needs right C, and you have U"):
        await theirs.share(his.record("Notes").key, "alice", Right.READ)
    with pytest.raises(errors.AccessDenied, match="needs right C"):
        await theirs.unshare(his.record("Notes").key, "alice")
    for doing in (
        mine.share(one.record("Notes").key, "bob", Right.READ), mine.unshare(one.record("Notes").key, "bob"),
        mine.users(one.record("Notes").key), mine.everybody(),
    ):  # fmt: skip
        with pytest.raises(errors.Unreachable, match="only the server knows"):
            await doing
    with pytest.raises(errors.Unreachable):
        mine.seen(one.record("Notes").key, "bob")


@simulated
async def test_what_the_server_does_not_know_can_not_be_shared(world: World) -> None:
    one, _two = await two_with_notes(world)
    one.mkdir("new")
    key = one.record("new").key
    with pytest.raises(errors.Busy, match="not on the servers yet"):
        await one.ask("share", word=["new", None], user="bob", right="r")
    assert one.transfer.sharing.seen(key, "bob") is Right.NONE
    with pytest.raises(errors.NotFound, match="knows no user bob"):
        await one.ask("share", word=["Notes", None], user="bob", right="r")
    with pytest.raises(errors.NoAttribute, match="bob has no right on Notes"):
        await one.ask("unshare", word=["Notes", None], user="bob")
    for wrong in ({"right": "x"}, {"right": None}, {"user": " "}, {"word": None}):
        with pytest.raises(errors.UsageError):
            await one.ask("share", **{"word": ["Notes", None], "user": "bob", "right": "r"} | wrong)
    assert (await one.ask("users"))["users"] == [{"user": name} for name in sorted(world.cloud.users)]
