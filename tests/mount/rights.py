"""What the tests of rights share: the rights, and objects that somebody has with one of them.

Import the fixtures where they are needed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mountkit import Account, MountKit, tree
from tests.serverkit import ServerKit

RIGHTS = ("r", "U", "D", "C")
MAY_CHANGE, MAY_DELETE, MAY_SHARE = ("U", "D", "C"), ("D", "C"), ("C",)
FILES = {"a.txt": b"first", "b.txt": b"second", "folder": None, "folder/c.txt": b"third"}


@pytest.fixture
def bob(oaio_server: ServerKit) -> Account:
    return Account(*oaio_server.fresh_user("bob"))


@pytest.fixture
def third(oaio_server: ServerKit) -> str:
    return oaio_server.fresh_user("carol")[0]


def made(owners: MountKit, who: str, right: str, *names: str) -> None:
    """Objects of the owner's, with files, that *who* has with this *right*."""
    for name in names:
        place = owners.path / name
        (place / "folder").mkdir(parents=True)
        for path, data in FILES.items():
            if data is not None:
                (place / path).write_bytes(data)
    owners.sync()
    for name in names:
        owners.ask("share", word=[name, None], user=who, right=right)


def content(place: Path) -> dict[str, bytes | None]:
    """What is in an object, but for its values."""
    return {path: data for path, data in tree(place).items() if path != "values.json"}
