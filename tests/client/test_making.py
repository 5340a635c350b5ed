"""Objects made and changed through the library, on the in-memory twin and on a real server."""

from __future__ import annotations

from pathlib import Path

import pytest

import oaiofs
from oaiofs import errors

from .conftest import Clients

STAMP = "20260301120000000001"
LATER = "20260301130000000001"


async def test_values_go_to_another_device_and_come_back_changed(clients: Clients) -> None:
    alice = clients.user()
    async with clients.open(alice, "desk") as desk, clients.open(alice, "laptop") as laptop:
        note = await desk.register_object({"_name": "Größe", "n": 10**30, "list": [1, {"x": None}]})
        assert note.server_stamp == note.client_stamp != ""
        assert (note.username, note.device_id, note.csh_access_right) == (alice.name, "desk", "C")
        assert await laptop.synchronize_with_server_if_online()
        seen = laptop.client_objectz[note.oaio_id]
        assert seen.client_values == note.client_values == {"_name": "Größe", "n": 10**30, "list": [1, {"x": None}]}
        changed = await laptop.update_object(note.oaio_id, {"n": -1})
        assert changed.server_stamp > note.client_stamp
        await desk.synchronize_with_server_if_online()
        assert desk.client_objectz[note.oaio_id].client_values["n"] == -1
        await desk.update_object(note.oaio_id, {"only": True}, reset=True)
        await laptop.synchronize_with_server_if_online()
        assert laptop.client_objectz[note.oaio_id].client_values == {"only": True}


async def test_a_file_as_bytes_is_read_elsewhere_and_replaced(clients: Clients) -> None:
    alice = clients.user()
    async with clients.open(alice, "desk") as desk, clients.open(alice, "laptop") as laptop:
        letter = await desk.register_file("deep/letter.txt", b"dear bob")
        assert letter.client_values == {"_file_paths": ["deep/letter.txt"]}
        await laptop.synchronize_with_server_if_online()
        assert await laptop.read_file(letter.oaio_id) == b"dear bob"
        await laptop.update_file(letter.oaio_id, file_content=b"dear all")
        await desk.synchronize_with_server_if_online()
        assert await desk.read_file(letter.oaio_id, "deep/letter.txt") == b"dear all"
        other = await desk.update_file(letter.oaio_id, "other.txt", b"instead")
        assert other.server_values == {"_file_paths": ["other.txt"]}
        await laptop.synchronize_with_server_if_online()
        assert laptop.client_objectz[letter.oaio_id].client_values == {"_file_paths": ["other.txt"]}
        assert await laptop.read_file(letter.oaio_id) == b"instead"


async def test_a_file_that_is_called_like_the_sidecar(clients: Clients) -> None:
    alice = clients.user()
    async with clients.open(alice) as desk:
        first = await desk.register_file("values.json", b"no values at all")
        assert await desk.read_file(first.oaio_id, "values.json") == b"no values at all"
        second = await desk.register_object({"_name": "n"})
        await desk.update_file(second.oaio_id, "values.json", b"{]")
        assert await desk.read_file(second.oaio_id, "values.json") == b"{]"
        assert desk.client_objectz[second.oaio_id].server_values == {"_name": "n", "_file_paths": ["values.json"]}


async def test_a_folder_is_registered_with_its_placeholder_and_looked_at_again(
    clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = clients.user()
    monkeypatch.setenv("HOME", str(clients.folder))
    docs = clients.folder / "Documents" / "trip"
    (docs / "deep").mkdir(parents=True)
    (docs / "one.txt").write_bytes(b"1")
    (docs / "deep" / "zwölf & 3.txt").write_bytes(b"12")
    (docs / ".#one.txt").symlink_to("nobody@nowhere")
    async with clients.open(alice, "desk") as desk, clients.open(alice, "laptop") as laptop:
        tree = await desk.register_folder(str(docs))
        values = {"_root_path": "{doc}/trip", "_file_paths": ["deep/zwölf & 3.txt", "one.txt"]}
        assert tree.server_values == values
        await laptop.synchronize_with_server_if_online()
        assert laptop.client_objectz[tree.oaio_id].client_values == values
        assert await laptop.read_file(tree.oaio_id, "deep/zwölf & 3.txt") == b"12"
        (docs / "one.txt").unlink()
        (docs / "deep" / "zwölf & 3.txt").write_bytes(b"twelve")
        (docs / "two.txt").write_bytes(b"2")
        again = await desk.update_folder(tree.oaio_id)
        assert again.server_values == values | {"_file_paths": ["deep/zwölf & 3.txt", "two.txt"]}
        await laptop.synchronize_with_server_if_online()
        assert await laptop.read_file(tree.oaio_id, "deep/zwölf & 3.txt") == b"twelve"
        same = await desk.update_folder(tree.oaio_id)
        assert same.server_stamp == again.server_stamp, "no version without a change"


async def test_an_existing_file_at_a_root_path_is_copied_and_bytes_are_put_there(clients: Clients) -> None:
    alice = clients.user()
    folder = clients.folder / "papers"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"theirs")
    async with clients.open(alice) as desk:
        one = await desk.register_file("a.txt", root_path=str(folder))
        assert one.client_values == {"_root_path": str(folder), "_file_paths": ["a.txt"]}
        assert await desk.read_file(one.oaio_id) == b"theirs"
        two = await desk.register_file("sub/b.txt", b"new", str(folder))
        assert (folder / "sub" / "b.txt").read_bytes() == b"new"
        await desk.update_file(two.oaio_id, file_content=b"newer")
        assert (folder / "sub" / "b.txt").read_bytes() == b"newer"
        (folder / "sub" / "b.txt").write_bytes(b"edited by its user")
        with pytest.raises(errors.Exists, match="is another file"):
            await desk.update_file(two.oaio_id, file_content=b"newest")
        assert (folder / "sub" / "b.txt").read_bytes() == b"edited by its user"
        taken = await desk.update_file(two.oaio_id)
        assert await desk.read_file(taken.oaio_id) == b"edited by its user"
        with pytest.raises(errors.Exists, match="is another file"):
            await desk.register_file("a.txt", b"mine", str(folder))
        with pytest.raises(errors.NotFound, match="no file"):
            await desk.register_file("c.txt", root_path=str(folder))
        with pytest.raises(errors.NotFound, match="no folder"):
            await desk.register_folder(str(folder / "nowhere"))
        assert len(desk.client_objectz) == 2


async def test_stamp_id_and_storage_are_the_callers(clients: Clients) -> None:
    alice = clients.user()
    own = f"{alice.name}-id"
    async with clients.open(alice) as desk:
        made = await desk.register_object({"x": 1}, STAMP, own, "Digi")
        assert (made.oaio_id, made.client_stamp, made.server_stamp, made.csh_id) == (own, STAMP, STAMP, "Digi")
        assert (await desk.update_object(own, {"x": 2}, LATER)).server_stamp == LATER
        with pytest.raises(errors.UsageError, match="not later"):
            await desk.update_object(own, {"x": 3}, STAMP)
        with pytest.raises(errors.UsageError, match="no stamp"):
            await desk.register_object({}, "yesterday")
        with pytest.raises(errors.Exists):
            await desk.register_object({}, oaio_id=own)
        with pytest.raises(errors.UsageError, match="another folder's path"):
            await desk.register_object({}, oaio_id="../x")
        assert desk.client_objectz[own].client_values == {"x": 2}
        letter = await desk.register_file("a.txt", b"a", stamp=STAMP)
        assert letter.oaio_id.endswith(STAMP)
        assert letter.server_stamp == STAMP


@pytest.mark.parametrize("values", [{1: 2}, {"x": {1, 2}}, {"x": float("inf")}, {"_file_paths": "a"}])
async def test_what_no_values_are_is_refused_before_anything_is_made(
    clients: Clients, values: dict[str, object]
) -> None:
    async with clients.open(clients.user()) as desk:
        with pytest.raises(errors.UsageError):
            await desk.register_object(values)
        for path in ("../x", "/etc/passwd", "a//b", "x.swp~", ""):
            with pytest.raises((errors.InvalidName, errors.UsageError)):
                await desk.register_file(path, b"x")
        assert desk.client_objectz == {}


async def test_what_is_given_and_what_comes_back_are_copies(clients: Clients) -> None:
    async with clients.open(clients.user()) as desk:
        values = {"list": [1]}
        made = await desk.register_object(values)
        values["list"].append(2)
        made.client_values["list"].append(3)
        assert desk.client_objectz[made.oaio_id].client_values == {"list": [1]}


async def test_offline_everything_is_kept_and_goes_later(clients: Clients) -> None:
    alice = clients.user()
    async with clients.open(alice, "desk", offline=True) as desk:
        letter = await desk.register_file("a.txt", b"written offline")
        assert letter.server_stamp == ""
        await desk.update_object(letter.oaio_id, {"n": 1})
        assert desk.why_offline == ""
        assert not await desk.synchronize_with_server_if_online()
        assert desk.why_offline
        assert desk.last_sync_stamp == "20221231111111012345"
    async with clients.open(alice, "desk") as desk, clients.open(alice, "laptop") as laptop:
        assert await desk.synchronize_with_server_if_online()
        assert desk.last_sync_stamp >= letter.client_stamp
        await laptop.synchronize_with_server_if_online()
        assert laptop.client_objectz[letter.oaio_id].client_values == {"n": 1, "_file_paths": ["a.txt"]}
        assert await laptop.read_file(letter.oaio_id) == b"written offline"


async def test_a_client_root_has_one_user_at_a_time(clients: Clients) -> None:
    alice, bob = clients.user(), clients.user()
    async with clients.open(alice):
        with pytest.raises(errors.Busy, match="one mount or one program has a client root at a time"):
            async with clients.open(alice):
                pass
    with pytest.raises(errors.ConfigError, match="holds the objects of"):
        async with clients.open(bob, client_root=clients.root(alice, "desk")):
            pass
    theirs = clients.folder / "theirs"
    (theirs / "objz").mkdir(parents=True)
    with pytest.raises(errors.ConfigError, match="oaiofs import"):
        async with clients.open(alice, client_root=theirs):
            pass
    client = clients.make(alice, "desk")
    with pytest.raises(errors.UsageError, match="inside its block"):
        await client.register_object({})


async def test_a_wrong_password_is_said_and_nothing_is_lost(clients: Clients) -> None:
    alice = clients.user()
    wrong = type(alice)(alice.name, "wrong")
    async with clients.open(wrong) as desk:
        with pytest.raises(errors.Unauthorized):
            await desk.synchronize_with_server_if_online()
        with pytest.raises(errors.Unauthorized):
            await desk.register_object({"_name": "kept"})
        assert [one.server_stamp for one in desk.client_objectz.values()] == [""]
    async with clients.open(alice) as desk:
        await desk.synchronize_with_server_if_online()
        assert [one.server_stamp != "" for one in desk.client_objectz.values()] == [True]


def test_the_package_has_the_client_when_asked(tmp_path: Path) -> None:
    from oaiofs.client import OaioClient

    assert oaiofs.OaioClient is OaioClient
    with pytest.raises(errors.ConfigError, match="password"):
        OaioClient("127.0.0.1", {"username": "alice"}, client_root=tmp_path)
