"""What the end of an attempt means. The type says it: Delivered, Retryable or Permanent. Pure.

`error` is a class of failure from a short list, fit to be stored and shown: never a library's message, which may hold
an address, a header or worse.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus


class Failure(StrEnum):
    """Why an attempt failed."""

    STATUS = "status"  # an answer other than 2xx; the status code says which
    REDIRECT = "redirect"  # not followed: the new address was never registered, nor checked
    GONE = "gone"
    TIMEOUT = "timeout"
    ADDRESS_REFUSED = "address refused"  # by our own guard, before any packet
    BAD_URL = "bad url"  # refused by the HTTP library, before any packet
    NAME_NOT_FOUND = "name not found"
    CANNOT_CONNECT = "cannot connect"
    TLS = "tls"
    DISCONNECTED = "disconnected"
    BAD_ANSWER = "bad answer"
    TOO_LARGE = "too large"  # a 2xx with a body that no answer to a webhook needs
    CUT_SHORT = "cut short"  # this process was told to stop
    INTERNAL = "internal"  # our own: a bug, or no thread left to look the name up; the log says which


@dataclass(frozen=True, slots=True)
class Delivered:
    """The endpoint has it."""

    status_code: int
    error: None = None


@dataclass(frozen=True, slots=True)
class Retryable:
    """Not this time; `wait`: the seconds for which the endpoint asked to be left alone, if it did."""

    error: Failure
    status_code: int | None = None
    wait: float | None = None


@dataclass(frozen=True, slots=True)
class Permanent:
    """Not ever: trying again would change nothing."""

    error: Failure
    status_code: int | None = None


@dataclass(frozen=True, slots=True)
class CutShort:
    """Nobody knows: our own process stopped in the middle of it. No fault of the endpoint's."""

    error: Failure = Failure.CUT_SHORT
    status_code: int | None = None


Verdict = Delivered | Retryable | Permanent | CutShort


def is_success(status_code: int) -> bool:
    """Whether a status says that the endpoint has it."""
    return 200 <= status_code < 300  # noqa: PLR2004  the classes of RFC 9110


def judge(status_code: int, *, wait: float | None = None, too_large: bool = False) -> Verdict:
    """What an HTTP status means (Standard Webhooks: 2xx is success, 410 is a wish to hear no more).

    `wait`: the seconds that `Retry-After` asked for; `too_large`: the answer was longer than we read.
    """
    if is_success(status_code):
        return Retryable(Failure.TOO_LARGE, status_code) if too_large else Delivered(status_code)
    if status_code == HTTPStatus.GONE:
        return Permanent(Failure.GONE, status_code)
    if 300 <= status_code < 400:  # noqa: PLR2004
        return Retryable(Failure.REDIRECT, status_code)
    return Retryable(Failure.STATUS, status_code, wait)
