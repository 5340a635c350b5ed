"""What an existing client had on this machine, imported by the command and mounted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.mountkit import Account, Cloud, MountMaker, needs_fuse, wait_for
from tests.realpeer import PeerProcess, RealPeer, peers
from tests.serverkit import ServerKit

__all__ = ["peers"]

pytestmark = [*needs_fuse, pytest.mark.peer]


def test_an_imported_root_is_mounted_and_both_go_on(
    oaio_server: ServerKit, account: Account, new_mount: MountMaker, cloud: Cloud, peers: PeerProcess, tmp_path: Path
) -> None:
    peer = RealPeer(peers, oaio_server, account, tmp_path / "old")
    notes = peer.make("Notes", k=1)
    peer.write("Notes", "d/a.txt", b"first")
    letters = tmp_path / "letters"
    letters.mkdir()
    (letters / "one.txt").write_text("one")
    peer.register_folder(letters)
    peer.offline = True
    peer.sync()
    peer.set_value("Notes", "unsent", True)
    peer.write("Notes", "b.txt", b"unsent")
    peer.offline = False

    kit = new_mount(start=False)
    words = ["import", peer.root, "--server", oaio_server.url, "--user", account.user, "--client-root", kit.client_root]
    told = kit.oaiofs(*words)
    assert told.returncode == 0, told.stderr
    assert "Notes: 2 files, 11 B, with changes that were not sent yet" in told.stdout
    assert f"its files are copied from {letters.resolve()}" in told.stdout
    assert kit.oaiofs(*words, "--yes").returncode == 0
    kit.start()
    busy = kit.oaiofs(*words, "--yes")
    assert (busy.returncode, busy.stdout) == (1, "")
    assert (kit.path / "Notes" / "d" / "a.txt").read_bytes() == b"first"
    assert (kit.path / "letters" / "one.txt").read_bytes() == b"one"
    kit.sync()
    assert cloud.version(cloud.objects()["Notes"]) == {"d/a.txt": b"first", "b.txt": b"unsent"}
    assert json.loads((kit.path / "Notes" / "values.json").read_text()) == {"_name": "Notes", "k": 1, "unsent": True}

    (kit.path / "letters" / "one.txt").write_bytes(b"from the mount")
    kit.sync()
    peer.sync()
    assert (letters / "one.txt").read_text() == "from the mount"
    peer.set_value("Notes", "k", 2)
    wait_for(lambda: json.loads((kit.path / "Notes" / "values.json").read_text())["k"] == 2)
    assert [one.oaio_id for one in cloud.objects().values() if one.values.get("_name") == "Notes"] == [notes]
    assert kit.problems() == []
