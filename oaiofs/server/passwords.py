"""How passwords are kept: scrypt, memory-hard, so that a stolen database is worth little.

Must not know whose they are.
"""

from __future__ import annotations

import os
from typing import Final

from django.contrib.auth.hashers import ScryptPasswordHasher

from .. import errors

#: Each check of a password takes 2 to the power of this: with 14, about 0.2 s and 16 MiB, see ``storage.accounts``.
COST_VARIABLE: Final = "OAIOFS_SERVER_PASSWORD_COST"
_COSTS = range(10, 18)
_USUAL_COST = 14


def cost_of(given: str | None) -> int:
    """The cost that the environment variable asks for, the usual one where it is not set. Raises UsageError."""
    if not given:
        return _USUAL_COST
    if given not in map(str, _COSTS):
        raise errors.UsageError(f"{COST_VARIABLE} is a number from {_COSTS[0]} to {_COSTS[-1]}, not {given[:50]!r}.")
    return int(given)


class Hasher(ScryptPasswordHasher):
    """What is kept at another cost is kept anew when its owner logs in next: Django sees to it."""

    work_factor = 1 << cost_of(os.environ.get(COST_VARIABLE))
    maxmem = 256 * ScryptPasswordHasher.block_size << _COSTS[-1]  # bytes, twice the need: OpenSSL allows 32 MiB
