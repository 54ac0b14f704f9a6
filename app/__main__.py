"""`python -m app`: starts the service.

Exit codes: 0 stopped when told to; 1 requests were left unanswered at the end of the drain, or the
address cannot be listened on; 2 the settings are wrong. README and the runbook rely on them.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_SETTINGS = 2


def _stop_at_once(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(EXIT_OK)


def main() -> int:
    """Runs the service and returns its exit code."""
    # A container's first process ignores signals it has no handler for: without these a pod told
    # to stop while it still imports would stay until it is killed.
    signal.signal(signal.SIGTERM, _stop_at_once)
    signal.signal(signal.SIGINT, _stop_at_once)

    import logging
    import os

    from app import logs
    from app.lifecycle import Lifecycle
    from app.server import listen, run
    from app.service import create_app
    from app.settings import SettingsError, load_settings, misspelt

    try:
        settings = load_settings(os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - before there is a log
        return EXIT_SETTINGS
    try:
        listener = listen(settings)
    except OSError as error:
        print(  # noqa: T201 - one line for a person, as for the settings
            f"error: aegis-api cannot listen on {settings.host} port {settings.port}\n"
            f"  why:   {error.strerror or error}\n"
            "  next:  stop what listens there, or set AEGIS_HOST or AEGIS_PORT",
            file=sys.stderr,
        )
        return EXIT_FAILED

    logs.configure(settings.log_level)
    logger = logging.getLogger("aegis.server")
    for name, known in misspelt(os.environ).items():
        logger.warning("unknown setting", extra={"setting": name, "did_you_mean": known})
    logger.info(
        "starting",
        extra=settings.model_dump(mode="json", exclude={"api_token", "database_url"})
        | {
            "api_token_required": settings.api_token is not None,
            "database": settings.database_url is not None,
        },
    )
    lifecycle = Lifecycle()
    server = run(create_app(settings, lifecycle), settings, lifecycle, listener)
    return EXIT_FAILED if server.abandoned else EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
