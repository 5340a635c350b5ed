"""Foreign failures in our words: none is forgotten."""

import inspect

import httpx
import pytest

from oaiofs import errors
from oaiofs.remote import failures

FOREIGN = [
    member
    for _, member in inspect.getmembers(httpx, inspect.isclass)
    if issubclass(member, Exception) and not issubclass(member, Warning)
]
#: Bases that nothing is raised as: each class below them has an entry of its own or a closer base's.
ROOTS = {httpx.HTTPError}


def made(kind: type[Exception]) -> Exception:
    if kind is httpx.HTTPStatusError:
        request = httpx.Request("GET", "http://localhost")
        return httpx.HTTPStatusError("secret text", request=request, response=httpx.Response(500))
    try:
        return kind("secret text")
    except TypeError:
        return kind()


@pytest.mark.parametrize("kind", [kind for kind in FOREIGN if kind not in ROOTS])
def test_every_exception_of_the_library_has_a_meaning(kind: type[Exception]) -> None:
    assert any(base in failures._MEANINGS for base in kind.__mro__)
    assert issubclass(kind, failures.FOREIGN)
    error = failures.error_of(made(kind), "host")
    assert isinstance(error, errors.RemoteError)
    assert str(error).startswith("host ")
    # Only what was never sent with a request can't quote one.
    assert ("secret text" in str(error)) == (kind is httpx.ConnectError)


def test_the_library_has_not_become_empty() -> None:
    assert len(FOREIGN) > 20


def test_timeouts_are_told_apart() -> None:
    assert isinstance(failures.error_of(httpx.ReadTimeout(""), "h"), errors.TimedOut)
    assert not failures.meaning_of(httpx.ConnectTimeout("")).temporary
    assert failures.meaning_of(httpx.ReadTimeout("")).temporary


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.Protocol),
        (401, errors.Unauthorized),
        (402, errors.Forbidden),
        (403, errors.Forbidden),
        (404, errors.RemoteNotFound),
        (408, errors.TimedOut),
        (409, errors.Conflict),
        (410, errors.RemoteNotFound),
        (412, errors.Conflict),
        (413, errors.StorageFull),
        (418, errors.Protocol),
        (423, errors.RateLimited),
        (425, errors.RateLimited),
        (429, errors.RateLimited),
        (451, errors.Forbidden),
        (499, errors.ServerFault),
        (500, errors.ServerFault),
        (503, errors.ServerFault),
        (507, errors.StorageFull),
        (511, errors.Unreachable),
        (599, errors.ServerFault),
    ],
)
def test_statuses(status: int, kind: type[errors.RemoteError]) -> None:
    error = failures.status_error(status, "host", "do it", "own words")
    assert type(error) is kind
    assert "host could not do it" in str(error)
    assert "own words" in str(error)


def test_a_server_that_asks_to_wait() -> None:
    error = failures.status_error(503, "host", "do it", asked=5.0)
    assert isinstance(error, errors.RateLimited)
    assert error.retry_after == 5.0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": "No, thanks."}', "No, thanks"),
        (b'{"error": {"code": "NotFound", "message": "gone"}}', "gone"),
        (b'{"error": {"code": "NotFound"}}', "NotFound"),
        (b'{"detail": "CSRF Failed"}', "CSRF Failed"),
        (b'{"error": "a\\u001b[31m\\nb"}', "a [31m b"),
        (b'{"error": 7}', ""),
        (b"[]", ""),
        (b"<html>", ""),
    ],
)
def test_the_servers_own_words(body: bytes, words: str) -> None:
    assert failures.server_words(body) == words


def test_the_servers_words_are_short() -> None:
    assert len(failures.server_words(b'{"error": "' + b"x" * 10_000 + b'"}')) == 200
