"""What the tests of the semantics table share: one mount of an account for a whole module, and objects in it.

Import the fixtures where they are needed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from oaiofs.core import names
from oaiofs.core.model import OLDEST_STAMP, OaioId, Outgoing, Stamp
from tests.mountkit import Account, Cloud, MountKit, MountMaker, mounting
from tests.serverkit import ServerKit


@pytest.fixture(scope="module")
def owner(oaio_server: ServerKit) -> Account:
    return Account(*oaio_server.fresh_user("rows"))


@pytest.fixture(scope="module")
def make(oaio_server: ServerKit, owner: Account) -> Iterator[MountMaker]:
    with mounting(oaio_server, owner) as maker:
        yield maker


@pytest.fixture(scope="module")
def here(make: MountMaker) -> MountKit:
    """The mount of all tests that need no fresh one; each works in objects of its own."""
    kit = make("here", lifetime=600)
    make_object(kit, "kept")  # the end of the last object would be an empty listing: told as a warning
    return kit


@pytest.fixture(scope="module")
def cloud(oaio_server: ServerKit, owner: Account) -> Cloud:
    return Cloud(oaio_server, owner)


@pytest.fixture
def remount(new_mount: MountMaker, owner: Account) -> MountKit:
    """A mount of the same account that a test may end and start again."""
    return new_mount("again", owner)


def make_object(kit: MountKit, name: str, **files: str) -> Path:
    """A new object with these files (``_`` stands for the dot), known to the servers when this returns."""
    (kit.path / name).mkdir()
    for file, text in files.items():
        (kit.path / name / file.replace("_", ".")).write_text(text)
    kit.sync()
    return kit.path / name


def xattr(path: Path, name: str) -> str:
    return os.getxattr(path, f"user.oaio.{name}").decode()


def make_remote(cloud: Cloud, name: str, number: int = 0) -> OaioId:
    """An object that another client registered."""
    stamp = Stamp(str(int(OLDEST_STAMP) + 1000 + number))
    oaio_id = names.make_oaio_id("app", cloud.account.user, "afar", {"_name": name}, (), stamp)
    made = Outgoing(oaio_id, stamp, "", {"_name": name, "number": number}, (), {}, (), "Digi")
    cloud.ask(lambda server: server.register(made))
    return oaio_id
