"""PUT credit over HTTP, the whole path, against a bare Flask route that does one plain INSERT with a commit."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import text

from benchmarks.figures import Figure
from benchmarks.load import put
from benchmarks.stage import Stage
from service.db.transaction import transaction

BODY = b'{"credit": 12.5}'
PATHS = [f"/v1/customer/{n}/credit" for n in range(1, 51)]
CONNECTIONS = (1, 8, 32)


def measure(stage: Stage, rounds: int, seconds: float) -> Iterator[Figure]:
    """Answers a second of both, with few connections and with many; the same gunicorn settings."""
    with transaction(stage.engine()) as tx:
        tx.execute(text("CREATE TABLE bare_insert (id bigint GENERATED ALWAYS AS IDENTITY, credit numeric(15, 5))"))
    ours, theirs = stage.start_web(), stage.start_web("gunicorn benchmarks.bare:app", "/")
    headers = {"Authorization": f"Bearer {stage.token(ours)}"}
    for path, aim in (("/commit", "≥ 0.8"), ("/autocommit", "")):
        for connections in CONNECTIONS:
            mine, other = [], []
            for _ in range(rounds):
                mine.append(put(ours, PATHS, BODY, headers, threads=connections, seconds=seconds).rate_or_fail())
                other.append(put(theirs, [path], BODY, {}, threads=connections, seconds=seconds).rate_or_fail())
            yield Figure(f"PUT credit / bare INSERT {path[1:]}, {connections} at once", "/s", mine, other, aim)
