"""Which requests are let in: decided from their head, before a body is taken.

waitress takes a body whole, to the disk, before anybody looks at it. So that no stranger fills the disk, the size is
limited here by what the address takes, by who is asking and by the room there is. A head that two servers could read
in two ways is refused, whoever is in front of this one. Must not know what requests mean, nor check a password.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.utilities import Error

from .answers import Refusal, refusal_answer

#: Bytes of a file from somebody who has not been seen with these credentials: enough for what small clients send first.
STRANGERS_FILE = 16 * 1024 * 1024
#: Room on the disk that uploads leave free. An upload takes its size twice: as it comes, and in its place.
RESERVE = 64 * 1024 * 1024
#: Where smaller bodies stay in memory (waitress' inbuf_overflow).
_IN_MEMORY = 512 * 1024
_SLACK = 64 * 1024
_CHARSET = re.compile(r""";[ \t]*charset\*?[ \t]*=[ \t]*("[^"]*"|[^;"]*)""", re.IGNORECASE)
_PUT = re.compile(r"/content/api/v2(?:\.1)?/mounts/[^/]+/files/put")


@dataclass(frozen=True, slots=True)
class House:
    """What the rules go by: bytes of the largest object, the spool, whether an Authorization was good lately."""

    largest_object: int
    spool: str
    is_known: Callable[[str], bool]


def refusal(house: House, path: str, authorization: str, size: int) -> Refusal | None:
    """Why a body of *size* bytes is not taken, or None."""
    if size > _IN_MEMORY and 2 * size > shutil.disk_usage(house.spool).free - RESERVE:
        return Refusal(413, "QuotaExceeded", "The server's disk has no room for this.")
    if not _PUT.fullmatch(path):
        if size <= house.largest_object + _SLACK:
            return None
        return Refusal(
            413, "TooLarge", f"The body is larger than the {house.largest_object} bytes that this server accepts."
        )
    if size <= STRANGERS_FILE or house.is_known(authorization):
        return None
    return Refusal(401, "Unauthorized", "Ask for something small with these credentials before you send a large file.")


def without_charset(content_type: str) -> str:
    """*content_type* without its charset: all here is UTF-8, and Django fails on names that are no text encoding's."""
    rest = _CHARSET.sub("", content_type)
    return "" if "charset" in rest.lower() else rest


class _Refused(Error):  # type: ignore[misc] # waitress has no types
    """A refusal in the form that waitress answers."""

    def __init__(self, refused: Refusal) -> None:
        super().__init__(str(refused))
        self._answer = refusal_answer(refused)

    def to_response(self, ident: str | None = None) -> tuple[str, list[tuple[str, str]], bytes]:
        status = f"{self._answer.status_code} {self._answer.reason_phrase}"
        return status, [("Content-Type", "application/json")], self._answer.content


def channel_class(house: House) -> type[Any]:
    """waitress' channel, with these rules."""

    class Parser(HTTPRequestParser):  # type: ignore[misc]
        def parse_header(self, header_plus: bytes) -> None:
            try:
                super().parse_header(header_plus)
            except ValueError:  # a length of thousands of digits
                raise ParsingError("Content-Length is no length") from None
            kind = self.headers.get("CONTENT_TYPE", "")
            if "charset" in kind.lower():
                self.headers["CONTENT_TYPE"] = without_charset(kind)
            # waitress has taken a Transfer-Encoding that it understands out of the headers
            if (self.chunked and "CONTENT_LENGTH" in self.headers) or "TRANSFER_ENCODING" in self.headers:
                raise ParsingError("Content-Length and Transfer-Encoding contradict each other")

        def received(self, data: bytes) -> int:
            taken: int = super().received(data)
            if self.body_rcv is not None and not self.completed:  # type: ignore[has-type]
                size = max(self.content_length, self.body_bytes_received)
                why = refusal(house, self.path, self.headers.get("AUTHORIZATION", ""), size)
                if why is not None:
                    self.error = _Refused(why)  # answered instead of asking the application
                    self.completed = True
            return taken

    class Channel(HTTPChannel):  # type: ignore[misc]
        parser_class = Parser

    return Channel
