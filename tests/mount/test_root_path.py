"""Objects with a ``_root_path``: made by the command, shown like any other, and where they belong for other clients."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oaiofs import errors
from tests.mountkit import Account, Cloud, MountKit, needs_fuse, wait_for, wait_same
from tests.realpeer import PeerProcess, RealPeer, peers
from tests.serverkit import ServerKit

__all__ = ["peers"]

pytestmark = needs_fuse


@pytest.fixture
def letters(d1: MountKit) -> Path:
    """A folder of the device's user."""
    folder = d1.folder / "home/Documents/letters"
    (folder / "old").mkdir(parents=True)
    (folder / "one.txt").write_text("one")
    (folder / "old/two.txt").write_text("two")
    return folder


def added(kit: MountKit, *words: object) -> dict[str, object]:
    run = kit.oaiofs("add", *words, "--json")
    assert run.returncode == 0, run.stderr
    [one] = json.loads(run.stdout)["added"]
    values: dict[str, object] = json.loads((kit.path / one["object"] / "values.json").read_text())
    return values


@pytest.mark.peer
def test_a_folder_is_where_it_belongs_on_each_device(
    d1: MountKit, letters: Path, oaio_server: ServerKit, account: Account, cloud: Cloud, peers: PeerProcess,
    tmp_path: Path,
) -> None:  # fmt: skip
    assert added(d1, "--root-path", letters) == {"_root_path": "{doc}/letters"}
    assert (d1.path / "letters/old/two.txt").read_text() == "two"
    d1.sync()
    assert cloud.objects()["letters"].values == {"_root_path": "{doc}/letters"}
    peer = RealPeer(peers, oaio_server, account, tmp_path / "peer")
    peer.sync()
    theirs = peers.home / "Documents/letters"
    assert (theirs / "old/two.txt").read_text() == "two"
    (d1.path / "letters/one.txt").write_text("edited in the mount")
    d1.sync()
    peer.sync()
    assert (theirs / "one.txt").read_text() == "edited in the mount"
    assert (letters / "one.txt").read_text() == "one", "the folder that was added stays as it is"
    (theirs / "three.txt").write_text("three")
    [oaio_id] = peer.objects
    peer._do("look", oaio_id)
    peer.sync()
    wait_for(lambda: (d1.path / "letters/three.txt").read_text() == "three")
    assert json.loads((d1.path / "letters/values.json").read_text()) == {"_root_path": "{doc}/letters"}
    other = peers.home / "Documents/theirs"
    other.mkdir()
    (other / "a.txt").write_text("a")
    peer.register_folder(other)
    wait_for(lambda: (d1.path / "theirs/a.txt").read_text() == "a")
    assert json.loads((d1.path / "theirs/values.json").read_text()) == {"_root_path": "{doc}/theirs"}


def test_what_can_be_added_with_a_root_path(d1: MountKit, letters: Path, cloud: Cloud) -> None:
    assert added(d1, letters / "old/two.txt", "--root-path", "{doc}/letters") == {"_root_path": "{doc}/letters"}
    assert sorted(path.name for path in (d1.path / "letters").rglob("*")) == ["old", "two.txt", "values.json"]
    values = d1.folder / "v.json"
    values.write_text('{"n": 1}')
    words = ("--root-path", "~/Documents/letters/old", "--values", values, "--name", "old ones")
    assert added(d1, *words) == {"_name": "old ones", "n": 1, "_root_path": "{doc}/letters/old"}
    assert (d1.path / "old ones/two.txt").read_text() == "two"
    outside = d1.folder / "home/elsewhere"
    outside.mkdir()
    (outside / "x.txt").write_text("x")
    assert added(d1, "--root-path", outside) == {"_root_path": str(outside)}
    d1.sync()
    assert cloud.version(cloud.objects()["letters"]) == {"old/two.txt": b"two"}
    wait_same(lambda: cloud.version(cloud.objects()["elsewhere"]), {"x.txt": b"x"})


def test_a_root_path_in_the_mount_itself_holds_nothing_up(d1: MountKit) -> None:
    (d1.path / "notes").mkdir()
    (d1.path / "notes/a.txt").write_text("a")
    (d1.folder / "home/Documents").symlink_to(d1.path)
    (d1.folder / "letter.txt").write_text("dear")
    for words in (["letter.txt"], []):
        run = d1.oaiofs("add", *words, "--root-path", "{doc}/notes")
        assert run.returncode == 2
        assert "is in the mount already" in run.stderr
    with pytest.raises(errors.UsageError, match="is not in the root path"):
        d1.ask("add", source=str(d1.folder / "letter.txt"), root_path="{doc}/never looked at")
    assert [path.name for path in d1.path.iterdir()] == ["notes"]


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["{home}/elsewhere/x.txt", "--root-path", "{home}/Documents/letters"], 2, "is not in the root path"),
        (["{home}/elsewhere/x.txt", "{home}/Documents", "--root-path", "{home}"], 2, "for one object"),
        (["--root-path", "{home}/nothing"], 1, "does not exist"),
        (["--root-path", "{mount}"], 2, "in the mount already"),
        (["--root-path", "{root}"], 1, "client root"),
    ],
)
def test_what_is_refused(d1: MountKit, letters: Path, words: list[str], code: int, part: str) -> None:
    home = d1.folder / "home"
    (home / "elsewhere").mkdir()
    (home / "elsewhere/x.txt").write_text("x")
    given = [word.format(home=home, mount=d1.path, root=d1.client_root) for word in words]
    run = d1.oaiofs("add", *given)
    assert (run.returncode, run.stdout) == (code, ""), run.stderr
    assert part in run.stderr
    assert list(d1.path.iterdir()) == []
