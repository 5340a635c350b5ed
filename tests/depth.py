"""How deep the tests go: a quick look at each commit, or the long version with ``scripts/test --long``.

    @settings(max_examples=examples(60))        # Hypothesis: 60, or with --long 600
    KILLS = deep(8, 200)                        # any other amount: the quick one, or the long one

Both may be used while a test module is imported; inside a test there is also the fixture ``long_run``. Another factor
for Hypothesis than 10 is ``--examples=FACTOR``. No test may time out for being deep: with either option the limit of
each is an hour, unless ``--timeout`` says otherwise.

The quick look tries the same examples each time, so that what it finds is of the change that was made; others are for
the longer ones.

Must not know any test.
"""

from __future__ import annotations

from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

T = TypeVar("T")

_FACTOR = 10
_TIMEOUT = 3600.0  # seconds
_MAY_BE_SLOW = (HealthCheck.too_slow,)

_long = False
_factor = 1


def add_option(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the long versions of the tests, for hours")
    parser.addoption(
        "--examples", type=int, metavar="FACTOR", help="try FACTOR times as many Hypothesis examples (--long: 10)"
    )


def begin(config: pytest.Config) -> None:
    """Before anything is collected, and before the timeout plugin has looked."""
    global _long, _factor
    _long = config.getoption("long")
    _factor = config.getoption("examples") or (_FACTOR if _long else 1)
    # How long an example takes says more about what else the machine does; the tests that are about time measure it.
    settings.register_profile("oaiofs", derandomize=_factor == 1, deadline=None, suppress_health_check=_MAY_BE_SLOW)
    settings.load_profile("oaiofs")
    if (_long or _factor > 1) and config.getoption("timeout", None) is None:
        config.option.timeout = _TIMEOUT


def is_long() -> bool:
    return _long


def deep(quick: T, long: T) -> T:
    """The amount *quick*, or with ``--long`` the amount *long*."""
    return long if is_long() else quick


def examples(quick: int) -> int:
    """How many Hypothesis examples to try."""
    return quick * _factor
