"""What the tests beside the existing client share: mounts and existing clients of two users, and what each of them has.

Import the fixtures where they are needed.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oaiofs.core.model import OaioId
from tests.mountkit import Account, MountKit, MountMaker, mounting
from tests.realpeer import PeerProcess, RealPeer
from tests.serverkit import ServerKit

from .rows import xattr

DATA = bytes(range(256)) + "no text, ü\r\n".encode()
FILES = {"one.bin": DATA, "deep/zwölf & 3.txt": b"12\r\n", "empty.txt": b""}
VALUES = {"n": 10**30, "whole": 1.0, "small": -1.5e-07, "x": [None, True, {"y": "Größe"}], "": {}, "e": []}


@pytest.fixture(scope="module")
def bob(oaio_server: ServerKit) -> Account:
    return Account(*oaio_server.fresh_user("bob"))


@pytest.fixture(scope="module")
def here(make: MountMaker) -> MountKit:
    """The owner's mount, for all rows; each works with objects of its own."""
    return make("here", arguments=("--app-id=notes", "--csh-id=Digi"), lifetime=600)


@pytest.fixture(scope="module")
def his(oaio_server: ServerKit, bob: Account) -> Iterator[MountKit]:
    """Another user's mount, with an object that stays."""
    with mounting(oaio_server, bob) as make_his:
        kit = make_his("his", lifetime=600)
        (kit.path / "his own").mkdir()
        yield kit


@pytest.fixture(scope="module")
def peer(
    oaio_server: ServerKit, peers: PeerProcess, owner: Account, tmp_path_factory: pytest.TempPathFactory
) -> RealPeer:
    """The owner's existing client."""
    return RealPeer(peers, oaio_server, owner, tmp_path_factory.mktemp("peer"))


@pytest.fixture
def his_peer(oaio_server: ServerKit, peers: PeerProcess, bob: Account, tmp_path: Path) -> RealPeer:
    return RealPeer(peers, oaio_server, bob, tmp_path / "his peer", "his")


@pytest.fixture
def fresh(oaio_server: ServerKit, peers: PeerProcess, owner: Account, tmp_path: Path) -> RealPeer:
    """The owner's existing client on a new device: it forgets nothing, so only a new one shows what is gone."""
    return RealPeer(peers, oaio_server, owner, tmp_path / "fresh", "fresh")


def done(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode == 0, run.stderr
    return run.stdout


def met(here: MountKit, peer: RealPeer) -> None:
    """Both have what the other one has."""
    here.sync()
    peer.sync_fully()


def id_of(place: Path) -> OaioId:
    return OaioId(xattr(place, "id"))


def shown(place: Path) -> Any:
    """What the sidecar shows."""
    return json.loads((place / "values.json").read_bytes())


def told(peer: RealPeer, oaio_id: str) -> dict[str, Any]:
    """The values that the existing client has, without the list of files."""
    values = peer.objects[OaioId(oaio_id)]["client_values"]
    return {key: value for key, value in values.items() if key != "_file_paths"}


def files_of(peer: RealPeer, oaio_id: str) -> dict[str, bytes]:
    """The attached files that the existing client has: it keeps on its disk those that a version no longer has."""
    paths = peer.objects[OaioId(oaio_id)]["client_values"]["_file_paths"]
    assert len(set(paths)) == len(paths)
    return {path: peer.files[OaioId(oaio_id)][path] for path in paths}


def content(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {path: place.read_bytes() for path, place in found.items() if path != "values.json"}


def filled(folder: Path, files: dict[str, bytes] = FILES) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def exactly(values: Any) -> str:
    """To compare: 1 is not 1.0."""
    return json.dumps(values, sort_keys=True)


def in_mount(here: MountKit, *names: str) -> list[Path]:
    """New objects, each with a file."""
    for name in names:
        filled(here.path / name, {"a.bin": DATA})
    here.sync()
    return [here.path / name for name in names]
