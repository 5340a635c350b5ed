"""The fixture ``world``: each contract test runs on the twin and on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.remote.worlds import HttpWorld, MemoryWorld, World
from tests.serverkit import oaio_server

__all__ = ["oaio_server", "world"]


@pytest.fixture(params=["memory", "http"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    made: World = MemoryWorld() if request.param == "memory" else HttpWorld(request.getfixturevalue("oaio_server"))
    yield made
    await made.aclose()
