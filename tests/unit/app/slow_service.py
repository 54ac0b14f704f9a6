"""The service with one more route, `/slow?seconds=`, run as a process by `test_process`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[3])]

from app import logs  # noqa: E402
from app.lifecycle import Lifecycle  # noqa: E402
from app.server import listen, run  # noqa: E402
from app.service import create_app  # noqa: E402
from app.settings import load_settings  # noqa: E402
from tests.unit.app.serving import SLOW  # noqa: E402

if __name__ == "__main__":
    settings = load_settings(os.environ)
    logs.configure(settings.log_level)
    lifecycle = Lifecycle()
    app = create_app(settings, lifecycle, extra_routes=[SLOW])
    sys.exit(1 if run(app, settings, lifecycle, listen(settings)).abandoned else 0)
