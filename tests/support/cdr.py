"""Lines as Asterisk's cdr_csv writes them: texts and dates in quotes, numbers bare, a date that is not set empty."""

from __future__ import annotations

from itertools import count

START = "2024-05-06 07:08:09"
_numbers = count(1)


def cdr_line(
    *,
    uniqueid: str | None = "",
    src: str = "0281",
    dst: str = "0912345678",
    start: str = START,
    end: str = "2024-05-06 07:09:00",
    duration: int = 51,
    billsec: int = 38,
    disposition: str = "ANSWERED",
    accountcode: str = "",
    clid: str = '"Nguyễn Văn Đức" <0281>',
    userfield: str | None = "",
    extra: tuple[str, ...] = (),
) -> str:
    """A line of `Master.csv`. A uniqueid of its own unless given; None: neither is logged."""
    number = next(_numbers)
    answer = '"2024-05-06 07:08:22"' if billsec else ""
    values = [
        *map(_quoted, (accountcode, src, dst, "from-internal", clid)),
        *map(_quoted, (f"SIP/100-{number:08x}", f"SIP/trunk-{number:08x}", "Dial", "SIP/trunk/0912345678,60,tT")),
        _quoted(start), answer, _quoted(end), str(duration), str(billsec),
        _quoted(disposition), _quoted("DOCUMENTATION"),
    ]  # fmt: skip
    if uniqueid is not None:
        values.append(_quoted(uniqueid or f"1714979289.{number}"))
    if userfield is not None and uniqueid is not None:
        values.append(_quoted(userfield))
    return ",".join([*values, *map(_quoted, extra)]) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
