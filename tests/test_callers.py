"""Whether a program that waits has been told to end, and what becomes of its call."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from oaiofs.callers import Callers, is_ending

#: Blocks what it is told to, says so, and takes no signal from then on: stopped programs don't. What whoever started
#: the tests ignores (nohup) is not ignored here: the kernel would drop it.
_PROGRAM = """if True:
    import os, signal, sys
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, [int(word) for word in sys.argv[1:]])
    os.write(1, b"ready")
    os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.fixture
def stopped(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    """A stopped program: what it is sent stays pending. Parameter: the signals that it blocks."""
    blocked = [str(int(number)) for number in getattr(request, "param", ())]
    with subprocess.Popen([sys.executable, "-c", _PROGRAM, *blocked], stdout=subprocess.PIPE) as program:
        _pid, status = os.waitpid(program.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        yield program
        program.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_that_ends_programs_is_seen(stopped: subprocess.Popen[bytes], number: signal.Signals) -> None:
    assert not is_ending(stopped.pid)
    stopped.send_signal(number)
    assert is_ending(stopped.pid)


def test_a_signal_that_ends_no_program_is_not(stopped: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGCHLD, signal.SIGWINCH, signal.SIGUSR1):
        stopped.send_signal(number)
    assert not is_ending(stopped.pid)


@pytest.mark.parametrize("stopped", [(signal.SIGTERM,)], indirect=True)
def test_a_signal_that_the_program_blocks_is_not(stopped: subprocess.Popen[bytes]) -> None:
    stopped.send_signal(signal.SIGTERM)
    assert not is_ending(stopped.pid)
    stopped.send_signal(signal.SIGINT)
    assert is_ending(stopped.pid)


def test_nobody_knows_of_a_thread_that_does_not_exist() -> None:
    assert not is_ending(0)
    assert not is_ending(2**22 + 1)


async def test_the_call_of_an_ended_program_is_given_up_and_no_other(
    stopped: subprocess.Popen[bytes], nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    callers, answer = Callers(), trio.Event()
    nursery.start_soon(callers.watch)
    other: list[str] = []

    async def wait_for_an_answer() -> None:
        with callers.waiting(os.getpid()):
            await answer.wait()
        other.append("answered")

    nursery.start_soon(wait_for_an_answer)
    stopped.send_signal(signal.SIGTERM)
    with pytest.raises(InterruptedError), callers.waiting(stopped.pid):
        await trio.sleep_forever()
    assert other == []
    answer.set()
    await trio.testing.wait_all_tasks_blocked()
    assert other == ["answered"]


async def test_to_look_at_very_many_who_wait_takes_little_at_once(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, float]] = []
    monkeypatch.setattr("oaiofs.callers.is_ending", lambda thread: seen.append((thread, trio.current_time())))
    callers = Callers()
    nursery.start_soon(callers.watch)
    with contextlib.ExitStack() as stack:
        for thread in range(1050):
            stack.enter_context(callers.waiting(thread))
        await trio.sleep(2.0)
    assert {thread for thread, _ in seen} == set(range(1050)), "each has been looked at"
    assert max(Counter(time for _, time in seen).values()) <= 100
