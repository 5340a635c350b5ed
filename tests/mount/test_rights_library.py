"""Who may do what by the library, beside the owner's mount: every right × every call that changes something.

A refusal is AccessDenied or Forbidden with a sentence. What was refused has changed nothing for the owner, nor is it
left in the program's own client root, where a later synchronization would find it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from oaiofs import errors
from oaiofs.client import OaioClient
from oaiofs.core.model import RemoteObject, Right
from oaiofs.remote.contract import StorageHost
from oaiofs.remote.oaio import HttpOaioServer
from tests.devicekit import problems
from tests.mountkit import Account, Cloud, MountKit, needs_fuse
from tests.serverkit import ServerKit

from .rights import FILES, MAY_CHANGE, MAY_DELETE, MAY_SHARE, RIGHTS, bob, content, made, third
from .rows import cloud, here, make, owner

__all__ = ["bob", "cloud", "here", "make", "owner", "third"]

pytestmark = needs_fuse

Attempts = Mapping[str, Callable[[], Awaitable[object]]]


class Program:
    """What a program with the library does as *account*'s user; a client root of its own, checked after each run."""

    def __init__(self, server: ServerKit, account: Account, root: Path) -> None:
        self.server, self.account, self.root = server, account, root

    @asynccontextmanager
    async def opened(self, acting_for: str = "") -> AsyncIterator[OaioClient]:
        credentials = {"username": self.account.user, "password": self.account.password}
        root = self.root / (acting_for or "own")
        client = OaioClient(self.server.host, credentials, "test", "program", client_root=root, acting_for=acting_for)
        async with client:
            yield client
            assert problems(client._open.store) == []

    def tries(self, attempts: Callable[[OaioClient], Attempts]) -> dict[str, str]:
        """What each attempt ends in; after one that was refused all is here as it was, and nothing waits to be sent."""

        async def run() -> dict[str, str]:
            async with self.opened() as client:
                assert await client.synchronize_with_server_if_online()
                seen = {}
                for what, attempt in attempts(client).items():
                    before = client.client_objectz
                    seen[what] = await outcome(attempt)
                    if seen[what] == "refused":
                        assert await client.synchronize_with_server_if_online()
                        assert client.client_objectz == before, what
                        assert client._open.transfer.stamps == {}
                return seen

        return trio.run(run)


async def outcome(attempt: Callable[[], Awaitable[object]]) -> str:
    """'done', or 'refused' with a sentence that tells why."""
    try:
        await attempt()
    except (errors.AccessDenied, errors.Forbidden) as error:
        reasons = ("right ", "may only read", "superuser", "own subscription stays", "X-OAIO-user names another")
        assert any(reason in str(error) for reason in reasons), error
        return "refused"
    return "done"


class Owners:
    """What the owner has of these objects: each with its version, everybody's right on it, and what is stored."""

    def __init__(self, cloud: Cloud, *names: str) -> None:
        self._cloud, self._names = cloud, names
        self.before = self.now()
        self.ids = [self.before[name][0].oaio_id for name in names]

    def now(self) -> dict[str, tuple[RemoteObject, dict[str, Right]]]:
        async def look(server: HttpOaioServer) -> dict[str, tuple[RemoteObject, dict[str, Right]]]:
            listed = (await server.list_objects()).objects
            wanted = {str(one.values["_name"]): one for one in listed if one.values["_name"] in self._names}
            rights = {name: await server.subscribers(one.oaio_id) for name, one in wanted.items()}
            return {name: (one, {u: r for u, r in rights[name].items() if r.may_read}) for name, one in wanted.items()}

        return self._cloud.ask(look)

    def stored(self) -> list[list[str]]:
        """The versions' files on the storage host, of each object."""

        async def look(host: StorageHost) -> list[list[str]]:
            found = []
            for oaio_id in self.ids:
                try:
                    found.append(sorted(await host.list_tree(oaio_id)))
                except errors.RemoteNotFound:
                    found.append([])
            return found

        return self._cloud.ask_storage(look)


def changes(client: OaioClient, oaio_id: str, folder: Path) -> Attempts:
    """Each way to change an object; the last ones make *folder* its ``_root_path``, and its files the object's."""
    name = client.client_objectz[oaio_id].client_values["_name"]
    return {
        "a value": partial(client.update_object, oaio_id, {"v": 1}),
        "a file": partial(client.update_file, oaio_id, file_content=b"mine"),
        "a file taken away": partial(client.update_object, oaio_id, {"_file_paths": ["b.txt"]}),
        "reset": partial(client.update_object, oaio_id, {"_name": name}, reset=True),
        "nothing": partial(client.update_folder, oaio_id),
        "another file": partial(client.update_file, oaio_id, "other.txt", b"mine"),
        "a file at a place": partial(client.update_file, oaio_id, "new.txt", b"new", str(folder)),
        "a folder": partial(client.update_folder, oaio_id, str(folder)),
    }


@pytest.mark.parametrize("right", RIGHTS)
def test_an_object_is_changed_with_the_right_to(
    right: str, here: MountKit, cloud: Cloud, oaio_server: ServerKit, bob: Account, tmp_path: Path
) -> None:
    name, allowed, folder = f"changed {right}", right in MAY_CHANGE, tmp_path / "his"
    made(here, bob.user, right, name)
    owners = Owners(cloud, name)
    folder.mkdir()
    (folder / "own.txt").write_bytes(b"own")
    program = Program(oaio_server, bob, tmp_path / "program")
    seen = program.tries(lambda client: changes(client, owners.ids[0], folder))
    assert seen == dict.fromkeys(seen, "done" if allowed else "refused")
    here.sync()
    now = {"own.txt": b"own", "new.txt": b"new"}
    assert content(here.path / name) == (now if allowed else FILES)
    assert sorted(os.listdir(folder)) == (["new.txt", "own.txt"] if allowed else ["own.txt"])
    if not allowed:
        assert owners.now() == owners.before


def sharing(client: OaioClient, oaio_id: str, third: str, fourth: str) -> Attempts:
    """Each way to share an object, which *third* has already and *fourth* has not."""
    share, me = client.upsert_subscription, client.user_name
    return {
        "with somebody": partial(share, oaio_id, fourth),
        "all of it": partial(share, oaio_id, third, "C"),
        "with nobody": partial(share, oaio_id, third, "x"),
        "no longer": partial(client.unsubscribe, oaio_id, fourth),
        "more to oneself": partial(share, oaio_id, me, "C"),
    }


@pytest.mark.parametrize("right", RIGHTS)
def test_an_object_is_shared_with_the_right_to_and_stays_its_owners(
    right: str, here: MountKit, cloud: Cloud, oaio_server: ServerKit, bob: Account, third: str, tmp_path: Path
) -> None:
    name, allowed, owner, fourth = f"shared {right}", right in MAY_SHARE, here.account.user, oaio_server.fresh_user()[0]
    made(here, bob.user, right, name)
    here.ask("share", word=[name, None], user=third, right="r")
    owners = Owners(cloud, name)
    program = Program(oaio_server, bob, tmp_path / "program")
    seen = program.tries(
        lambda client: {
            "less to the owner": partial(client.upsert_subscription, owners.ids[0], owner, "r"),
            "nothing to the owner": partial(client.unsubscribe, owners.ids[0], owner),
        }
    )
    assert seen == dict.fromkeys(seen, "refused")
    assert owners.now() == owners.before
    seen = program.tries(lambda client: sharing(client, owners.ids[0], third, fourth))
    assert seen == dict.fromkeys(seen, "done" if allowed else "refused")
    left = {owner: Right.CREATE, bob.user: Right(right)} | ({} if allowed else {third: Right.READ})
    assert owners.now()[name][1] == left


@pytest.mark.parametrize("right", RIGHTS)
def test_an_object_is_deleted_with_the_right_to(
    right: str, here: MountKit, cloud: Cloud, oaio_server: ServerKit, bob: Account, tmp_path: Path
) -> None:
    names, allowed = [f"deleted {right}", f"wiped {right}"], right in MAY_DELETE
    made(here, bob.user, right, *names)
    owners = Owners(cloud, *names)
    stored = owners.stored()
    program = Program(oaio_server, bob, tmp_path / "program")
    seen = program.tries(
        lambda client: {
            "deleted": partial(client.unregister_object, owners.ids[0]),
            "wiped": partial(client.unregister_object, owners.ids[1], wipe_files=True),
        }
    )
    assert seen == dict.fromkeys(seen, "done" if allowed else "refused")
    here.sync()
    assert owners.now() == ({} if allowed else owners.before)
    assert owners.stored() == [stored[0], [] if allowed else stored[1]]
    assert [content(here.path / name) for name in names] == [{} if allowed else FILES] * 2


@pytest.mark.parametrize("anew", [False, True])
def test_a_right_that_was_taken_away_meanwhile_does_not_delete_or_share(
    anew: bool, here: MountKit, cloud: Cloud, oaio_server: ServerKit, bob: Account, third: str, tmp_path: Path
) -> None:
    """The program still knows the old one: while it goes on, and where it begins *anew* without a look."""
    names = [f"{what} {anew}" for what in ("left", "left with files", "no longer shared")]
    made(here, bob.user, "C", *names)
    owners = Owners(cloud, *names)
    ids, stored = owners.ids, owners.stored()
    program = Program(oaio_server, bob, tmp_path / "program")

    def lower() -> None:
        for name in names:
            here.ask("share", word=[name, None], user=bob.user, right="r")

    async def tries(client: OaioClient) -> list[str]:
        return [
            await outcome(partial(client.unregister_object, ids[0])),
            await outcome(partial(client.unregister_object, ids[1], wipe_files=True)),
            await outcome(partial(client.upsert_subscription, ids[2], third, "r")),
        ]

    async def run() -> None:
        async with program.opened() as client:
            await client.synchronize_with_server_if_online()
            await trio.to_thread.run_sync(lower)
            if not anew:
                assert await tries(client) == ["refused"] * 3
        async with program.opened() as client:
            if anew:
                assert await tries(client) == ["refused"] * 3
            await client.synchronize_with_server_if_online()
            known = [client.client_objectz[oaio_id] for oaio_id in ids]
            assert [one.csh_access_right for one in known] == ["r"] * 3
            assert [one.client_stamp for one in known] == [one.server_stamp for one in known]

    trio.run(run)
    lowered = {here.account.user: Right.CREATE, bob.user: Right.READ}
    assert owners.now() == {name: (one, lowered) for name, (one, _) in owners.before.items()}
    assert owners.stored() == stored


def test_an_edit_whose_right_was_taken_away_is_kept_until_it_is_back(
    here: MountKit, cloud: Cloud, oaio_server: ServerKit, bob: Account, tmp_path: Path
) -> None:
    made(here, bob.user, "U", "lost")
    owners = Owners(cloud, "lost")
    [oaio_id] = owners.ids
    program = Program(oaio_server, bob, tmp_path / "program")

    def give(right: str) -> None:
        here.ask("share", word=["lost", None], user=bob.user, right=right)

    async def run() -> None:
        async with program.opened() as client:
            await client.synchronize_with_server_if_online()
            await trio.to_thread.run_sync(give, "r")
            with pytest.raises(errors.AccessDenied, match=r"lost: .* kept here until its owner gives you right U"):
                await client.update_object(oaio_id, {"by": "bob"})
            with pytest.raises(errors.AccessDenied, match="kept here until"):
                await client.synchronize_with_server_if_online()
            now = await trio.to_thread.run_sync(owners.now)
            assert now["lost"][0] == owners.before["lost"][0]
            await trio.to_thread.run_sync(give, "U")
            assert await client.synchronize_with_server_if_online()

    trio.run(run)
    assert owners.now()["lost"][0].values == {"_name": "lost", "by": "bob"}


def test_only_superusers_wipe_users_or_act_for_others(
    here: MountKit, cloud: Cloud, oaio_server: ServerKit, bob: Account, third: str, tmp_path: Path
) -> None:
    made(here, bob.user, "C", "everybody's")
    owners, owner = Owners(cloud, "everybody's"), here.account.user
    [oaio_id] = owners.ids
    program = Program(oaio_server, bob, tmp_path / "program")
    names = (owner, third, bob.user)
    seen = program.tries(lambda client: {name: partial(client.wipe_user, name) for name in names})
    assert seen == dict.fromkeys(names, "refused")

    async def for_the_owner() -> list[str]:
        async with program.opened(acting_for=owner) as client:
            attempts = (
                client.synchronize_with_server_if_online,
                partial(client.upsert_subscription, oaio_id, third, "r"),
                partial(client.unsubscribe, oaio_id, bob.user),
                partial(client.userz_access, oaio_id),
                partial(client.wipe_user, third),
            )
            return [await outcome(attempt) for attempt in attempts]

    assert set(trio.run(for_the_owner)) == {"refused"}
    assert owners.now() == owners.before
