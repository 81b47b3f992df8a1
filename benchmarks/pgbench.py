"""pgbench calling the append function: what the door does by itself, one event a call, without HTTP or Python."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from benchmarks.stage import Stage
from service.access.keys import find_client

CLIENTS = 16
_RATE = re.compile(r"tps = ([\d.]+)")


def appends_per_second(stage: Stage, seconds: float) -> float:
    """Events a second that sixteen connections append to the demo's customers."""
    script = Path(stage.environ["TMPDIR"]) / "append.sql"
    if not script.exists():
        script.write_text(_script(str(find_client(stage.engine(), "demo"))))
    command = [stage.postgres.bin / "pgbench", "-n", "-M", "prepared", "-c", CLIENTS, "-j", 2, "-f", script]
    done = subprocess.run(
        [str(word) for word in [*command, "-T", max(1, round(seconds)), stage.environ["DATABASE_URL"]]],
        check=True,
        capture_output=True,
        text=True,
    )
    match = _RATE.search(done.stdout)
    assert match is not None, done.stdout
    return float(match[1])


def _script(client_id: str) -> str:
    nothing = ", ".join(f"ARRAY[NULL::{kind}]" for kind in ("bigint", "bigint", "text", "text"))
    return (
        "\\set customer random(1, 50)\n"
        f"SELECT * FROM ledger_append(ARRAY['{client_id}'::uuid], ARRAY['id:' || :customer], "
        "ARRAY[gen_random_uuid()], ARRAY['credit.set'], ARRAY[random(1, 9)::numeric], ARRAY[NULL::smallint], "
        f"ARRAY[NULL::text], ARRAY[NULL::text], ARRAY['pgbench'], ARRAY[NULL::text], {nothing}, true, false)\n"
    )
