"""What foreign failures mean: the one translation of httpx's exceptions and of HTTP statuses into ``oaiofs.errors``.

Decides only; must not know what was asked or when it is tried again.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from .. import errors
from . import jsontext
from .address import foreign_url

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_WORDS = 200


@dataclass(frozen=True, slots=True)
class Meaning:
    error: type[errors.RemoteError]
    words: str
    temporary: bool = False
    #: Whether the library's own text may be shown: it may quote what was sent.
    text_is_safe: bool = False


_CUT = Meaning(errors.Unreachable, "the connection was cut", temporary=True)
_OUR_MISTAKE = Meaning(errors.Protocol, "the request could not be made")
_NONSENSE = Meaning(errors.Protocol, "the answer can't be read")

_MEANINGS: Mapping[type[BaseException], Meaning] = {
    httpx.RequestError: Meaning(errors.Unreachable, "the request failed"),
    httpx.ConnectTimeout: Meaning(errors.TimedOut, "no connection in time"),
    httpx.PoolTimeout: Meaning(errors.TimedOut, "all connections are busy"),
    httpx.TimeoutException: Meaning(errors.TimedOut, "no answer in time", temporary=True),
    httpx.ConnectError: Meaning(errors.Unreachable, "no connection", text_is_safe=True),
    httpx.ProxyError: Meaning(errors.Unreachable, "the proxy did not connect"),
    httpx.NetworkError: _CUT,
    httpx.RemoteProtocolError: Meaning(errors.Unreachable, "it broke off or speaks no HTTP", temporary=True),
    httpx.ProtocolError: _NONSENSE,
    httpx.LocalProtocolError: _OUR_MISTAKE,
    httpx.UnsupportedProtocol: _OUR_MISTAKE,
    httpx.InvalidURL: _OUR_MISTAKE,
    httpx.DecodingError: _NONSENSE,
    httpx.TooManyRedirects: _NONSENSE,
    httpx.HTTPStatusError: _NONSENSE,
    httpx.CookieConflict: _NONSENSE,
    httpx.StreamError: Meaning(errors.Protocol, "the answer was used after its end"),
}
FOREIGN = (httpx.HTTPError, httpx.InvalidURL, httpx.CookieConflict, httpx.StreamError)


def meaning_of(foreign: BaseException) -> Meaning:
    """The most specific entry for this exception's class."""
    return next((_MEANINGS[base] for base in type(foreign).__mro__ if base in _MEANINGS), _NONSENSE)


def error_of(foreign: Exception, host: str) -> errors.RemoteError:
    """What an exception of the HTTP library, caught while talking to *host*, means to oaiofs."""
    meaning = meaning_of(foreign)
    reason = _reason(foreign) if meaning.text_is_safe else ""
    detail = f" ({reason})" if reason else ""
    return meaning.error(f"{host} can't be used: {meaning.words}{detail}.")


def _reason(foreign: BaseException) -> str:
    """The first words in the chain of causes, which begins with wrappers that have none."""
    cause: BaseException | None = foreign
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {printable(cause.verify_message)}"
        if str(cause):
            return printable(str(cause))
        cause = cause.__cause__ or cause.__context__
    return ""


def status_error(status: int, host: str, what: str, words: str = "", asked: float | None = None) -> errors.RemoteError:
    """The error that an HTTP *status* means.

    *what* was being done, e.g. ``list objects``; *words* are the server's own, *asked* its Retry-After in seconds.
    """
    quote_ = f": {words}" if words else ""
    begin = f"{host} could not {what}"
    if status in _WAIT or (status == 503 and asked is not None):
        return errors.RateLimited(f"{begin}: {_WAIT.get(status, _ASKS_TO_WAIT)}{quote_}.", asked)
    if status == 499 or (status >= 500 and status not in _STATUS):
        return errors.ServerFault(f"{begin}: it failed inside ({status}{quote_}).")
    kind, reason = _STATUS.get(status, (errors.Protocol, f"it refused the request ({status})"))
    return kind(f"{begin}: {reason}{quote_}.")


def is_web_page(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether this is a page for people: no server or storage host answers a call of ours with one."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind in ("text/html", "application/xhtml+xml") or body[:64].lstrip()[:1] == b"<"


def redirect_error(location: str, host: str) -> errors.Protocol:
    target = foreign_url(location).hostname
    elsewhere = f" to {printable(target)}" if target else ""
    return errors.Protocol(f"{host} redirects{elsewhere} instead of answering: check the address.")


def page_error(host: str, what: str) -> errors.Unreachable:
    """A web page came with a status of success: whoever sent it, it was not the host that was asked."""
    return errors.Unreachable(
        f"{host} could not {what}: a web page came instead of its answer. Does this network want you to sign in first?"
    )


_ASKS_TO_WAIT = "it asks to wait"
#: Nothing is wrong with the request: it is to be made again later.
_WAIT: Mapping[int, str] = {
    423: "it is locked just now",
    425: "it is too early for that",
    429: _ASKS_TO_WAIT,
}
_STATUS: Mapping[int, tuple[type[errors.RemoteError], str]] = {
    401: (errors.Unauthorized, "user name or password not accepted, or the session is over"),
    402: (errors.Forbidden, "the account there is not paid for"),
    403: (errors.Forbidden, "you are not allowed to"),
    404: (errors.RemoteNotFound, "it is not there"),
    408: (errors.TimedOut, "it waited too long for the request"),
    409: (errors.Conflict, "something else is there already or has changed"),
    410: (errors.RemoteNotFound, "it is gone"),
    412: (errors.Conflict, "it has changed meanwhile"),
    413: (errors.StorageFull, "the storage is full or the content too large"),
    451: (errors.Forbidden, "the law forbids it, it says"),
    507: (errors.StorageFull, "the storage is full"),
    511: (errors.Unreachable, "this network wants you to sign in first"),
}


def server_words(body: bytes) -> str:
    """The server's own sentence in an error body, '' where there is none.

    Looks at ``{"error": S}``, ``{"error": {"message": S}}`` (Koofr) and ``{"detail": S}`` (Django REST framework).
    """
    try:
        content = jsontext.parse(body)
    except errors.Protocol:
        return ""
    words = content.get("error", content.get("detail", content.get("message"))) if isinstance(content, dict) else None
    if isinstance(words, dict):
        words = words.get("message") or words.get("code")
    return printable(words) if isinstance(words, str) else ""


def printable(text: str) -> str:
    """Foreign text on one line, printable and short, without a full stop at its end."""
    return "".join(char if char.isprintable() else " " for char in text[:_MAX_WORDS]).strip().rstrip(".")
