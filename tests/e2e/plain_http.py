"""HTTP to the lab's own addresses, past whatever proxy the shell that runs the tests has.

A client of httpx reads the certificates of all authorities as it is made, which takes longer than
the request where there is no TLS.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping

import httpx

SECONDS = 30.0
_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Knows no authority."""


def client(base_url: str = "", seconds: float = SECONDS) -> httpx.Client:
    """Return a client that speaks no TLS.

    Args:
        base_url: What its addresses begin with.
        seconds: How long an answer may take.
    """
    return httpx.Client(base_url=base_url, timeout=seconds, trust_env=False, verify=_NOBODY)


def get(
    url: str, *, headers: Mapping[str, str] | None = None, seconds: float = SECONDS
) -> httpx.Response:
    """Ask once.

    Args:
        url: What for.
        headers: What is sent with it.
        seconds: How long the answer may take.

    Raises:
        httpx.HTTPError: There is no answer.
    """
    with client(seconds=seconds) as one:
        return one.get(url, headers=headers)
