"""Fixtures of the server's tests."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from oaiofs.server import service
from tests.serverkit import ServerKit, oaio_server

from .clients import Oaio, Storage
from .storing import LogIn, People, Person, storage_of

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


@pytest.fixture
def people(oaio_server: ServerKit, log_in: LogIn) -> Iterator[People]:
    made: list[Person] = []

    def make(stem: str = "person") -> Person:
        session = log_in(stem)
        made.append(Person(session, storage_of(oaio_server, session)))
        return made[-1]

    yield make
    for person in made:
        person.storage.http.close()
