"""A program with the library beside a mount, and on the mount's client root after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from oaiofs import errors
from oaiofs.client import OaioClient
from tests.mountkit import Account, MountKit, needs_fuse, wait_for, wait_same
from tests.serverkit import ServerKit

pytestmark = needs_fuse


async def test_what_a_program_makes_is_in_the_mount_and_edits_there_reach_it(
    oaio_server: ServerKit, account: Account, d1: MountKit, tmp_path: Path
) -> None:
    credentials = {"username": account.user, "password": account.password}
    folder = tmp_path / "trip"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"1")
    async with OaioClient(oaio_server.host, credentials, "test", "program", client_root=tmp_path / "root") as client:
        tree = await client.register_folder(str(folder))
        note = await client.register_object({"_name": "note", "n": 1})
        wait_for(lambda: (d1.path / "note" / "values.json").exists() and (d1.path / "trip" / "a.txt").exists())
        assert (d1.path / "trip" / "a.txt").read_bytes() == b"1"
        (d1.path / "trip" / "a.txt").write_bytes(b"edited")
        (d1.path / "note" / "values.json").write_text('{"_name": "note", "n": 2}')
        d1.sync()
        await client.synchronize_with_server_if_online()
        assert await client.read_file(tree.oaio_id) == b"edited"
        assert client.client_objectz[tree.oaio_id].client_values["_root_path"] == str(folder)
        assert client.client_objectz[note.oaio_id].client_values == {"_name": "note", "n": 2}
        await client.unregister_object(note.oaio_id)
        wait_same(lambda: (d1.path / "note").exists(), False)


async def test_one_client_root_is_a_mounts_or_a_programs(
    oaio_server: ServerKit, account: Account, d1: MountKit
) -> None:
    credentials = {"username": account.user, "password": account.password}
    client = OaioClient(oaio_server.host, credentials, client_root=d1.client_root)
    with pytest.raises(errors.Busy, match="one mount or one program has a client root at a time"):
        await client.__aenter__()
    (d1.path / "made in the mount").mkdir()
    d1.stop()
    async with client:
        await client.synchronize_with_server_if_online()
        (seen,) = client.client_objectz.values()
        assert seen.client_values == {"_name": "made in the mount"}
        await client.update_file(seen.oaio_id, "b.txt", b"by the program")
        assert client.device_id == "d1"
        refused = d1.oaiofs(*d1.words())
        assert refused.returncode == 1
        assert "one mount or one program has a client root at a time" in refused.stderr.replace("\n", " ")
    d1.start()
    assert (d1.path / "made in the mount" / "b.txt").read_bytes() == b"by the program"
