"""Exports of calls, written here and now instead of by a worker; and calls enough to export."""

from __future__ import annotations

import csv
import gzip
import io
import uuid
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text

from service.api.context import services
from service.calls.export_turn import Turn, take_turn
from service.calls.partitions import ensure_month
from service.db.transaction import reading, transaction
from tests.support.client import ApiClient

DAYS = 7
QUARTER = {"start_date": "2021-01-01 00:00:00", "end_date": "2021-03-31 23:59:59"}
_CALLS = text("""
    INSERT INTO call_record (client_id, customer_id, uniqueid, source, destination, start_time, end_time, duration,
                             amount)
    SELECT :client, nullif(n % 3, 0), n || '.1', '028' || n % 10, '0' || n, started, started + interval '1 minute',
           n % 120, n / 100000.0
    FROM (SELECT n, CAST(:start AS timestamptz) + n * CAST(:step AS interval) AS started
          FROM generate_series(1, :count) n) AS calls
""")
_IDS = text("SELECT id FROM call_record WHERE client_id = :client ORDER BY start_time DESC, id DESC")


def add_calls(engine: Engine, client_id: uuid.UUID, count: int, start: str = "2021-01-01", days: int = 90) -> None:
    """So many calls, one after the other, spread over some days."""
    first = datetime.fromisoformat(start).replace(tzinfo=UTC)
    with transaction(engine) as tx:
        for day in range(0, days + 28, 28):
            ensure_month(tx, first + timedelta(days=day))
        step = timedelta(days=days) / (count + 1)
        tx.execute(_CALLS, {"client": client_id, "start": first, "step": step, "count": count})


def write_everything(engine: Engine) -> list[Turn]:
    """What workers would do until no export waits for a turn."""
    return list(iter(lambda: take_turn(engine, DAYS), None))


def done_export(api: ApiClient) -> str:
    """The id of an export of a client that is done; one is made where there is none."""
    for export in api.get("/v1/call/export?limit=100").json["data"]:
        if export["status"] == "done":
            return export["id"]
    with api.app.app_context():
        engine = services().engine
    write_everything(engine)
    asked = api.post("/v1/call/export", QUARTER)
    assert asked.status == 200, asked.body
    write_everything(engine)
    return asked.json["id"]


def rows_of(file: bytes) -> list[dict[str, str]]:
    """The rows of a file, by column."""
    return list(csv.DictReader(io.StringIO(gzip.decompress(file).decode(), newline="")))


def every_call(engine: Engine, client_id: uuid.UUID) -> list[str]:
    """The ids of a client's calls, newest first, as a file has them."""
    with reading(engine) as connection:
        return [str(call) for call in connection.scalars(_IDS, {"client": client_id})]
