"""`python -m workers apply | deliver | clock`: one process of the service, as the Procfile starts it."""

from __future__ import annotations

import argparse
import signal

from service import logs
from service.db.schema import require_current
from service.doorbell import APPLY, DELIVER
from workers import clock, loop
from workers.runtime import runtime


def main() -> None:
    """Run one worker process until it is asked to stop. Ends with status 1 and a sentence if it can't run."""
    parser = argparse.ArgumentParser(prog="python -m workers", description="Run one process behind the API.")
    parser.add_argument(
        "process", choices=[APPLY, DELIVER, "clock"], help="apply events, deliver webhooks, or keep the clock"
    )
    process = parser.parse_args().process
    run = runtime()
    logs.configure(run.config)
    require_current(run.engine)
    if process == "clock":
        clock.serve()
    else:
        loop.serve(process)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # one more from the platform must not make a clean end a killed one


if __name__ == "__main__":
    main()
