"""Fixtures of the server's tests."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from oaiofs.server import service
from tests.serverkit import ServerKit, oaio_server

from .clients import Oaio, Storage

__all__ = ["oaio_server"]


@pytest.fixture
def log_in(oaio_server: ServerKit) -> Iterator[Callable[..., Oaio]]:
    """Makes a new user and a session of theirs; all sessions are closed after the test."""
    sessions: list[Oaio] = []

    def make(stem: str = "user", superuser: bool = False) -> Oaio:
        sessions.append(Oaio(oaio_server, *oaio_server.fresh_user(stem, superuser)))
        return sessions[-1]

    yield make
    for session in sessions:
        session.http.close()


@pytest.fixture
def new_storage(oaio_server: ServerKit) -> Iterator[Callable[..., Storage]]:
    """Makes a new, empty storage account and a client of it."""
    clients: list[Storage] = []

    def make(version: str = "v2", quota: int | None = None) -> Storage:
        email = f"{uuid.uuid4()}@test"
        service.add_storage(oaio_server.data, email, email, "secret", "/", quota=quota)
        clients.append(Storage(oaio_server, email, "secret", version))
        return clients[-1]

    yield make
    for client in clients:
        client.http.close()


@pytest.fixture
def storage(new_storage: Callable[..., Storage]) -> Storage:
    return new_storage()
