"""An A2Billing database as tests fill it, and the import of it in this process."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from io import StringIO
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import URL, Engine, create_engine, text

from service.a2billing.importer import Run, run_import
from service.a2billing.report import Report
from service.a2billing.source import Source
from tests.support.ledger import rows

IMPORTED = (
    "customer", "stream", "ledger_event", "caller_id", "call_record", "call_leg", "customer_group",
    "imported_card", "imported_caller_id", "imported_call", "imported_refill",
)  # fmt: skip


@dataclass
class OldSystem:
    """One A2Billing database."""

    engine: Engine

    @classmethod
    @contextmanager
    def at(cls, url: URL) -> Iterator[OldSystem]:
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        yield cls(engine)
        engine.dispose()

    @property
    def url(self) -> str:
        return self.engine.url.render_as_string(hide_password=False)

    @property
    def is_mysql(self) -> bool:
        return self.engine.dialect.name == "mysql"

    def run(self, statements: str, **parameters: Any) -> None:
        """Execute statements; on MySQL as leniently as A2Billing's own servers are set up."""
        with self.engine.connect() as connection:
            if self.is_mysql:
                connection.execute(text("SET SESSION sql_mode = ''"))
            for statement in statements.split(";"):
                connection.execute(text(statement), parameters)

    def add(self, table: str, **values: Any) -> None:
        """A row."""
        if table == "cc_card":
            number = values["id"]
            values = {"username": f"09{number:08}", "useralias": f"1{number:08}", "credit": 0, **values}
        if table == "cc_call":
            values = {
                "uniqueid": f"{values['id']}.1", "starttime": "2024-03-01 10:00:00", "stoptime": "2024-03-01 10:01:00",
                "sessiontime": 60, "sessionbill": 0.5, "calledstation": "0281", "src": "0901", **values,
            }  # fmt: skip
        if table == "cc_logrefill":
            values = {"date": "2024-02-01 08:00:00", "credit": 10, **values}
        names = ", ".join(values)
        self.run(f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{name}' for name in values)})", **values)


def furnish(old: OldSystem) -> None:
    """Two groups, three cards, three caller ids, four calls of which two are legs of one, two refills."""
    for number, name in ((1, "DEFAULT"), (2, "Đại lý")):
        old.add("cc_card_group", id=number, name=name)
    old.add("cc_card", id=11, credit="12343.1234", id_group=2, activated="t", status=1)
    old.add("cc_card", id=12, credit="-7.5", typepaid=1, creditlimit=50, credit_notification=5, status=6)
    old.add("cc_card", id=15, credit=0, status=0)
    for number, cid, card in ((1, '"Bob" <0123>', 11), (2, "+84 (28) 38-22", 11), (3, "0909", 12)):
        old.add("cc_callerid", id=number, cid=cid, id_cc_card=card, activated="t")
    for number, card, uniqueid in ((101, 11, "x.1"), (102, 11, "x.1"), (103, 12, "x.2"), (104, 12, "")):
        old.add("cc_call", id=number, card_id=card, uniqueid=uniqueid)
    for number, card in ((1, 11), (2, 12)):
        old.add("cc_logrefill", id=number, card_id=card, description="nạp tiền", refill_type=1)


def bring(
    old: OldSystem,
    engine: Engine,
    client_id: uuid.UUID,
    *,
    zone: str = "UTC",
    since: datetime | None = None,
    dry: bool = False,
    csv: StringIO | None = None,
    ring: Callable[[Sequence[int]], None] = lambda _: None,
) -> Report:
    """Import it."""
    report = Report(csv)
    source = Source.open(old.url)
    try:
        run_import(
            Run(
                source=source,
                engine=engine,
                client_id=client_id,
                zone=ZoneInfo(zone),
                report=report,
                progress=lambda *_: nullcontext(lambda _: None),
                ring=ring,
                since=since,
                dry=dry,
            )
        )
    finally:
        source.close()
    return report


def counts(engine: Engine) -> dict[str, int]:
    """How many rows there are of all that an import writes."""
    return {table: rows(engine, f"SELECT count(*) FROM {table}")[0][0] for table in IMPORTED}


def tally(report: Report, table: str) -> tuple[int, int, int, int]:
    """(new, there already, changed, not taken)"""
    found = report.tallies[table]
    return found.new, found.there, found.changed, found.not_taken


def reasons(report: Report) -> dict[tuple[str, int], str]:
    """What was not taken: the reason for each row."""
    return {(table, each.id): reason for (table, reason), listed in report.not_taken.items() for each in listed}
