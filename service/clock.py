"""The one clock of the Python side. Postgres stores `timestamptz`; people see RFC 3339 in UTC with a `Z`."""

from datetime import UTC, datetime


def now() -> datetime:
    """The current moment, aware, in UTC."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """`2021-05-31T17:17:35Z`; microseconds only where there are any.

    >>> rfc3339(datetime(2021, 5, 31, 17, 17, 35, tzinfo=UTC))
    '2021-05-31T17:17:35Z'
    """
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
