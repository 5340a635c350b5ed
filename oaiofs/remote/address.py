"""How a host is called: from what users type to a base URL, and the rule where plain http may go.

Pure; no look-up is made. Must not know what is asked of the host.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, quote, urlsplit

from .. import errors


def server_url(host: str, insecure: bool = False) -> str:
    """The base URL, without slash at its end, of what a user calls a host: ``host``, ``host:port`` or a URL.

    https unless the host is this machine (``localhost``, ``127.0.0.1``, ``[::1]``). Raises ConfigError, also for plain
    http to another host unless *insecure*, and for a user name or password inside the URL.
    """
    text = host.strip()
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        name, _port = parts.hostname, parts.port
    except ValueError:
        raise errors.ConfigError("This server address can't be read: give it as HOST, HOST:PORT or a URL.") from None
    if parts.username is not None or parts.password is not None:
        raise errors.ConfigError("A server address must not hold a user name or password: use --user and a login.")
    if not name or parts.query or parts.fragment or any(char.isspace() or ord(char) < 0x20 for char in text):
        raise errors.ConfigError(f"{text!r} is no server address: give it as HOST, HOST:PORT or a URL.")
    scheme = parts.scheme or ("http" if is_loopback(name) else "https")
    if scheme not in ("http", "https"):
        raise errors.ConfigError(f"{scheme}:// is not supported for servers: use https://{parts.netloc}")
    if scheme == "http" and not (insecure or is_loopback(name)):
        raise errors.ConfigError(
            f"http://{parts.netloc} would send your password readable: use https, or --insecure if you mean it."
        )
    return f"{scheme}://{parts.netloc}{parts.path}".rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether this host name is this machine by its very spelling (no look-up is made)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def foreign_url(text: str) -> SplitResult:
    """The parts of a URL that a stranger wrote; all empty where it is none."""
    try:
        return urlsplit(text)
    except ValueError:
        return urlsplit("")


def quoted(segment: str) -> str:
    """*segment* as exactly one segment of a URL's path."""
    return quote(segment, safe="")
