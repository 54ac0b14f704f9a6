"""Whether packets get to where they are sent, whoever listens there: in a pod or on its network.

It needs nothing but Python, so its text can be handed to one in an image.
"""

from __future__ import annotations

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

OPEN, CLOSED = "open", "closed"
_DNS_QUERY = b"\0\1\1\0\0\1\0\0\0\0\0\0\0\0\2\0\1"
"""Who answers for the root of all names."""


def knock(host: str, port: int, kind: str, seconds: float) -> str:
    """Say whether an address is reached: `OPEN`, `CLOSED`, or what else was in the way.

    Args:
        host: Where to.
        port: The port there.
        kind: ``TCP``, or ``UDP`` with a question that a DNS server answers.
        seconds: How long nothing may be heard before it is called closed.
    """
    form = socket.SOCK_DGRAM if kind == "UDP" else socket.SOCK_STREAM
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=form)[0]
        with socket.socket(family, form) as it:
            it.settimeout(seconds)
            it.connect(address)
            if kind == "UDP":
                it.send(_DNS_QUERY)
                it.recv(1)
    except ConnectionRefusedError:
        return OPEN  # It was there that nobody listens.
    except TimeoutError:
        return CLOSED
    except OSError as error:
        return str(error)
    return OPEN


def knock_at_all(targets: list[tuple[str, int, str, float]]) -> list[str]:
    """Knock at several addresses at once; return what was found, in their order."""
    with ThreadPoolExecutor(len(targets) or 1) as at_once:
        return list(at_once.map(lambda it: knock(*it), targets))


if __name__ == "__main__":
    print(json.dumps(knock_at_all(json.loads(sys.argv[1]))), flush=True)  # noqa: T201
