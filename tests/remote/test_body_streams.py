"""Bodies on their way, without a network: how long their chunks may take."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from oaiofs import errors
from oaiofs.remote.streams import SLOWEST, Translated


async def late(*bodies: tuple[float, bytes]) -> AsyncIterator[bytes]:
    """Chunks that each come after so many seconds, also just after nobody waits any more, as on a busy machine."""
    for seconds, chunk in bodies:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)
        yield chunk
        await trio.lowlevel.checkpoint()


async def test_a_body_whose_chunk_comes_after_its_time_is_given_up_as_too_slow(autojump_clock: MockClock) -> None:
    chunks = Translated(late((3, b"x"), (0, b"y")), "the host", seconds=2)
    assert await anext(chunks) == b"x"
    with pytest.raises(errors.TimedOut, match="the host sends too slowly: try again"):
        await anext(chunks)


async def test_a_large_chunk_that_comes_after_its_time_makes_up_for_it(autojump_clock: MockClock) -> None:
    large = b"x" * SLOWEST * 3
    chunks = Translated(late((3, large), (1, b"y")), "the host", seconds=2)
    assert [chunk async for chunk in chunks] == [large, b"y"]


async def test_chunks_that_came_fast_save_no_more_patience_than_there_was(autojump_clock: MockClock) -> None:
    chunks = Translated(late((0, b"x" * SLOWEST * 100), (3, b"y"), (1, b"z")), "the host", seconds=2)
    assert len(await anext(chunks)) == SLOWEST * 100
    assert await anext(chunks) == b"y"
    with pytest.raises(errors.TimedOut):
        await anext(chunks)
