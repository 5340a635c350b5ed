"""Which certificates are trusted. Must not know who is talked to."""

from __future__ import annotations

import ssl

import httpx

from .. import errors


def ssl_context(scheme: str) -> ssl.SSLContext:
    """For URLs of *scheme*. Raises ConfigError where the environment names certificates that can't be read."""
    if scheme == "https":
        try:
            return httpx.create_ssl_context(verify=True, trust_env=True)
        except OSError as error:
            raise errors.ConfigError(f"SSL_CERT_FILE names no readable certificates: {error.strerror}.") from error
    # Never used for plain http; one that trusts nobody is safe, and made without reading the system's for 20 ms.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
