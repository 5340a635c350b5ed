"""What users call a host."""

import pytest

from oaiofs import errors
from oaiofs.remote.address import quoted, server_url


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("oaio.example", "https://oaio.example"),
        ("oaio.example:8443", "https://oaio.example:8443"),
        (" oaio.example ", "https://oaio.example"),
        ("https://oaio.example/", "https://oaio.example"),
        ("https://oaio.example/sub/path/", "https://oaio.example/sub/path"),
        ("localhost", "http://localhost"),
        ("localhost:8000", "http://localhost:8000"),
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("127.8.9.1", "http://127.8.9.1"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("[::1]", "http://[::1]"),
        ("https://localhost", "https://localhost"),
        ("http://localhost:1/", "http://localhost:1"),
        ("[2001:db8::1]:80", "https://[2001:db8::1]:80"),
    ],
)
def test_server_url(host: str, url: str) -> None:
    assert server_url(host) == url


@pytest.mark.parametrize(
    "host",
    [
        "",
        "   ",
        "https://",
        "ftp://oaio.example",
        "file:///etc/passwd",
        "oaio.example:port",
        "oaio.example:99999",
        "oaio example",
        "oaio.example\nX: y",
        "https://oaio.example/?a=b",
        "https://oaio.example/#a",
        "https://[::1",
        "http://oaio.example",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "http://10.0.0.1",
    ],
)
def test_what_is_no_server_address(host: str) -> None:
    with pytest.raises(errors.ConfigError):
        server_url(host)


def test_plain_http_is_for_those_who_ask_for_it() -> None:
    assert server_url("http://oaio.example", insecure=True) == "http://oaio.example"
    assert server_url("oaio.example", insecure=True) == "https://oaio.example"


@pytest.mark.parametrize("host", ["https://me:hidden@oaio.example", "me:hidden@oaio.example", "http://hidden@localhost"])
def test_credentials_in_an_address_are_refused_and_not_repeated(host: str) -> None:
    with pytest.raises(errors.ConfigError) as caught:
        server_url(host)
    assert "hidden" not in str(caught.value)


def test_a_segment_stays_one() -> None:
    assert quoted("a/b?c#d%2f ü") == "a%2Fb%3Fc%23d%252f%20%C3%BC"
