"""Fixtures of the tests with real mounts: an account of the test's own, mounts of it, and a look at the servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.mountkit import Account, Cloud, MountKit, MountMaker, mounting
from tests.serverkit import ServerKit, oaio_server

__all__ = ["oaio_server"]


@pytest.fixture
def account(oaio_server: ServerKit) -> Account:
    return Account(*oaio_server.fresh_user("mount"))


@pytest.fixture
def new_mount(oaio_server: ServerKit, account: Account) -> Iterator[MountMaker]:
    with mounting(oaio_server, account) as make:
        yield make


@pytest.fixture
def quiet() -> float:
    """Seconds that ``d1`` waits after a change before it sends it; ``when_asked`` makes them many."""
    return 0.3


@pytest.fixture
def d1(new_mount: MountMaker, quiet: float) -> MountKit:
    return new_mount("d1", quiet=quiet)


@pytest.fixture
def d2(new_mount: MountMaker) -> MountKit:
    return new_mount("d2")


@pytest.fixture
def slow(new_mount: MountMaker) -> MountKit:
    """A device that sends nothing before it is asked to: what it changes meets what others did before."""
    return new_mount("slow", quiet=60.0)


@pytest.fixture
def cloud(oaio_server: ServerKit, account: Account) -> Cloud:
    return Cloud(oaio_server, account)
