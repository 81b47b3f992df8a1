"""What is read of each table: a column for each field, None for one that an older schema doesn't have.

A field without a default is a column without which it is no table of A2Billing.
"""

from __future__ import annotations

from typing import NamedTuple

from service.a2billing.values import Raw


class RawGroup(NamedTuple):
    """A row of cc_card_group."""

    id: int
    name: Raw


class RawCard(NamedTuple):
    """A row of cc_card."""

    id: int
    username: Raw
    useralias: Raw
    credit: Raw
    status: Raw = None
    activated: Raw = None
    typepaid: Raw = None
    creditlimit: Raw = None
    credit_notification: Raw = None
    id_group: Raw = None
    enableexpire: Raw = None
    expiredays: Raw = None
    creationdate: Raw = None
    firstusedate: Raw = None
    expirationdate: Raw = None
    lastuse: Raw = None


class RawCallerId(NamedTuple):
    """A row of cc_callerid."""

    id: int
    cid: Raw
    id_cc_card: Raw
    activated: Raw = None


class RawCall(NamedTuple):
    """A row of cc_call."""

    id: int
    uniqueid: Raw
    card_id: Raw
    starttime: Raw
    stoptime: Raw = None
    sessiontime: Raw = None
    calledstation: Raw = None
    sessionbill: Raw | float = None
    src: Raw = None
    terminatecauseid: Raw = None


class RawRefill(NamedTuple):
    """A row of cc_logrefill."""

    id: int
    card_id: Raw
    credit: Raw
    date: Raw
    description: Raw = None
    refill_type: Raw = None
