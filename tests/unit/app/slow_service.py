"""The service with the routes of `Held` as well, run as a process by `test_process`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[3])]

from app import logs  # noqa: E402
from app.lifecycle import Lifecycle  # noqa: E402
from app.server import DrainPlan, listen, make_server  # noqa: E402
from app.service import create_app  # noqa: E402
from app.settings import load_settings  # noqa: E402
from tests.unit.app.serving import Held  # noqa: E402

if __name__ == "__main__":
    settings = load_settings(os.environ)
    logs.configure(settings.log_level)
    lifecycle = Lifecycle()
    app = create_app(settings, lifecycle, extra_routes=Held().routes)
    # Its window is wide, whatever a busy machine does meanwhile, and ends soon once all have left.
    plan = DrainPlan(quiet=0.3, window=120, answer=130)
    server = make_server(app, settings, lifecycle, plan)
    server.run(sockets=[listen(settings)])
    sys.exit(1 if server.abandoned else 0)
