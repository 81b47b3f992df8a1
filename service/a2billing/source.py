"""A2Billing's database, read in short queries: MySQL, MariaDB, or its older PostgreSQL variant.

Most of these systems are live, and their tables MyISAM's, which one long SELECT locks for every writer. So a page is
a query of its own, by the primary key, on a connection in autocommit; nothing is kept open between two pages, and
nothing is ever written.

Every value is asked for as the text (on MySQL the bytes) that its database prints. That keeps drivers from failing on
dates that do not exist, decimals exact, and text in whatever encoding it was stored.
"""

from __future__ import annotations

import configparser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, NamedTuple, TypeVar

import psycopg
from sqlalchemy import (
    ColumnElement,
    Connection,
    DateTime,
    Engine,
    LargeBinary,
    Row,
    Select,
    TableClause,
    Text,
    cast,
    column,
    create_engine,
    event,
    func,
    literal_column,
    null,
    or_,
    select,
    table,
    text,
)
from sqlalchemy import exc as sa
from sqlalchemy.engine import URL, make_url

from service.a2billing.raw import RawCall, RawCallerId, RawCard, RawGroup, RawRefill
from service.a2billing.values import FIRST_YEAR
from service.errors import Invalid, Unavailable

CONNECT_TIMEOUT = 10  # seconds
READ_TIMEOUT = 300  # seconds for a page: MyISAM makes readers wait for whoever writes or repairs
SINCE_MARGIN = timedelta(days=2)  # the exact look at a moment is ours; this only spares the way
NO_DATE = datetime(FIRST_YEAR, 1, 1)  # noqa: DTZ001  as the wall clock there shows it; before it nothing is a date
BEFORE_ALL = -(2**63)

OPTION_NOT_UNDERSTOOD = (
    "the address of the A2Billing database has an option that is not known, or a value it can't have"
)

_Query = Select[*tuple[Any, ...]]

RawRow = TypeVar("RawRow", bound=NamedTuple)


@dataclass(frozen=True)
class SourceTable(Generic[RawRow]):
    """A table, what becomes of a row of it, and the column that says when it happened, if it is history."""

    name: str
    row: type[RawRow]
    moment: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Its columns, in the order of `row`."""
        return tuple(self.row._fields)

    @property
    def required(self) -> set[str]:
        """Those without which it is no table of A2Billing."""
        return set(self.columns) - self.row._field_defaults.keys()


GROUPS = SourceTable("cc_card_group", RawGroup)
CARDS = SourceTable("cc_card", RawCard)
CALLER_IDS = SourceTable("cc_callerid", RawCallerId)
CALLS = SourceTable("cc_call", RawCall, "starttime")
REFILLS = SourceTable("cc_logrefill", RawRefill, "date")
TABLES: tuple[SourceTable[Any], ...] = (GROUPS, CARDS, CALLER_IDS, CALLS, REFILLS)


class Source:
    """One A2Billing database. Raises Unavailable (a sentence without the password) where it can't be read."""

    def __init__(self, engine: Engine, types: dict[str, dict[str, str]]) -> None:
        self._engine = engine
        self._types = types  # of each table's columns

    @classmethod
    def open(cls, address: str) -> Source:
        """Connect, and see whether this is A2Billing. Raises Invalid, Unavailable."""
        engine = _engine(address)
        return cls(engine, {each.name: _column_types(engine, each) for each in TABLES})

    def close(self) -> None:
        """Let go of its connection."""
        self._engine.dispose()

    def bounds(self, of: SourceTable[Any]) -> tuple[int, int]:
        """The lowest and the highest id of a table; (0, 0) of an empty one."""
        (row,) = _rows(
            self._engine,
            select(func.min(column("id")).label("first"), func.max(column("id")).label("last")).select_from(_table(of)),
        )
        return (int(row.first), int(row.last)) if row.first is not None else (0, 0)

    def highest_id(self, of: SourceTable[Any], below: int) -> int:
        """The highest id of a table among those below a number; 0 for none."""
        query: _Query = select(func.max(column("id")).label("last")).select_from(_table(of)).where(column("id") < below)
        ((last,),) = _rows(self._engine, query)
        return max(int(last or 0), 0)

    def clock(self) -> datetime:
        """What the clock on the database's wall shows now: no zone."""
        ((now,),) = _rows(self._engine, select(func.now() if self._is_mysql else literal_column("LOCALTIMESTAMP")))
        assert isinstance(now, datetime)
        return now

    def pages(
        self, of: SourceTable[RawRow], size: int, since: datetime | None = None
    ) -> Iterator[tuple[int, list[RawRow]]]:
        """All rows in the order of their ids, a page at a time, with the id up to which the table has been read.

        With `since` (as the wall clock there shows it), history from long before it is not fetched.
        """
        query = self._query(of)
        last = BEFORE_ALL
        while (upto := self._end_of_page(of, last, size)) is not None:
            page = query.where(column("id") > last, column("id") <= upto)
            if since is not None and of.moment is not None:
                page = page.where(self._since(of.moment, since))
            yield upto, [of.row(*row) for row in _rows(self._engine, page)]
            last = upto

    def _end_of_page(self, of: SourceTable[Any], last: int, size: int) -> int | None:
        """The id at which a page ends: found in the index alone, so that the page is a range of ids."""
        ids: _Query = (
            select(column("id")).select_from(_table(of)).where(column("id") > last).order_by(column("id")).limit(size)
        )
        page = ids.subquery("page")
        ((upto,),) = _rows(self._engine, select(func.max(page.c.id)))
        return None if upto is None else int(upto)

    def _query(self, of: SourceTable[Any]) -> _Query:
        columns = [column("id"), *(self._as_text(of.name, name) for name in of.columns if name != "id")]
        return select(*columns).select_from(_table(of)).order_by(column("id"))

    def _as_text(self, of: str, name: str) -> ColumnElement[Any]:
        kind = self._types[of].get(name)
        if kind is None:
            return null().label(name)
        if not self._is_mysql:
            return cast(column(name), Text).label(name)
        if kind == "float":  # of one, MySQL prints six digits; of a double, all
            return (column(name) * literal_column("1e0")).label(name)
        return cast(column(name), LargeBinary).label(name)

    def _since(self, moment: str, since: datetime) -> ColumnElement[bool]:
        when: ColumnElement[datetime] = column(moment, DateTime)
        return or_(when >= max(since, NO_DATE) - SINCE_MARGIN, when < NO_DATE, when.is_(None))

    @property
    def _is_mysql(self) -> bool:
        return self._engine.dialect.name == "mysql"


_DRIVERS = {
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "mysql+pymysql": "mysql+pymysql",
    "mariadb+pymysql": "mysql+pymysql",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


def _engine(address: str) -> Engine:
    try:
        url = make_url(address)
    except (sa.ArgumentError, ValueError):
        raise Invalid("the address of the A2Billing database cannot be read") from None
    driver = _DRIVERS.get(url.drivername)
    if driver is None or not url.database:
        raise Invalid("the A2Billing database must be named as in mysql://user@host/name or postgres://user@host/name")
    if "@" in f"{url.host}{url.database}" or "/" in url.database:
        raise Invalid("percent-encode the password in the address of the A2Billing database: @ is %40, / is %2F")
    try:
        return _engine_of(url.set(drivername=driver), mysql=driver.startswith("mysql"))
    except _BAD_OPTION:
        raise Invalid(OPTION_NOT_UNDERSTOOD) from None


def _engine_of(url: URL, *, mysql: bool) -> Engine:
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=1,
        max_overflow=0,
        pool_pre_ping=True,  # a page may take long to write, and servers hang up on who is idle
        hide_parameters=True,
        connect_args={**_MYSQL, **_password(url)} if mysql else _POSTGRES,
    )
    if not mysql:
        event.listen(engine, "connect", _set_up_postgres)
    return engine


def _password(url: URL) -> dict[str, bytes]:
    """In place of the one in the address, which PyMySQL would send in latin-1: nobody has set it so."""
    return {"password": url.password.encode()} if url.password else {}


# What drivers do about options that they don't know, or can't read.
_BAD_OPTION = (TypeError, AttributeError, ValueError, LookupError, OSError, configparser.Error, sa.ArgumentError)
_MYSQL: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT, "read_timeout": READ_TIMEOUT}
# UTF-8 to begin with: for a database of no encoding the driver would hand out bytes where SQLAlchemy expects text.
_POSTGRES: dict[str, Any] = {
    "connect_timeout": CONNECT_TIMEOUT,
    "client_encoding": "UTF8",
    "prepare_threshold": None,
}


def _set_up_postgres(connection: psycopg.Connection, _: object) -> None:
    """Dates in the one form that we read; a database without an encoding byte by byte, to be made sense of here."""
    connection.execute("SET datestyle TO 'ISO, YMD'")
    connection.execute("SELECT set_config('statement_timeout', %s, false)", (f"{READ_TIMEOUT}s",))
    if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
        connection.execute("SET client_encoding TO 'LATIN1'")
    connection.commit()


def _column_types(engine: Engine, of: SourceTable[Any]) -> dict[str, str]:
    """The columns of a table and their types. Raises Invalid where it is missing, or a column of its."""
    schema = text("DATABASE()") if engine.dialect.name == "mysql" else text("current_schema()")
    query: _Query = (
        select(column("column_name").label("name"), column("data_type").label("type"))
        .select_from(table("columns", schema="information_schema"))
        .where(column("table_name") == of.name, column("table_schema") == schema)
    )
    types = {str(row.name).lower(): str(row.type).lower() for row in _rows(engine, query)}
    if not types:
        raise Invalid(f"this is no A2Billing database: it has no table {of.name}, or not for this user")
    missing = sorted(of.required - types.keys())
    if missing:
        raise Invalid(f"this A2Billing database is too old or another one: {of.name} has no column {missing[0]}")
    return types


def _table(of: SourceTable[Any]) -> TableClause:
    return table(of.name)


def _rows(engine: Engine, query: _Query) -> Sequence[Row[Any]]:
    """The rows of a short query. Raises Unavailable with the driver's own words."""
    try:
        with _connected(engine) as connection:
            return connection.execute(query).all()
    except sa.DBAPIError as error:
        raise Unavailable(f"the A2Billing database cannot be read: {_words(error, engine.url)}") from None


def _connected(engine: Engine) -> Connection:
    try:
        return engine.connect()
    except _BAD_OPTION:
        raise Invalid(OPTION_NOT_UNDERSTOOD) from None


def _words(error: sa.DBAPIError, url: URL) -> str:
    """The first line of what the driver says. It names no password; should one ever do, it is taken out."""
    said = str(error.orig.args[-1]) if error.orig is not None and error.orig.args else type(error.orig).__name__
    line = next(iter(said.strip().splitlines()), "no reason given")
    return line.replace(url.password, "***") if url.password else line
