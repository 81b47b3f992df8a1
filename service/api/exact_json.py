"""JSON in and out without a float on the way: numbers with a point are read as Decimal and written digit by digit."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, NoReturn

import orjson
from flask.json.provider import JSONProvider

from service.money import as_json


def loads(data: bytes | str) -> Any:
    """Parse JSON. Raises ValueError for what is not JSON: NaN and Infinity, broken UTF-8, nesting without end."""
    text = data if isinstance(data, str) else data.decode()
    try:
        value = _DECODER.decode(text)
        if "\\u" in text:
            _refuse_halves(value)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ArithmeticError:
        raise ValueError("a number beyond all bounds") from None
    return value


def _refuse_halves(value: Any) -> None:
    """Half a character can be spelled in JSON, but neither be stored nor be said again. Raises UnicodeEncodeError."""
    json.dumps(value, ensure_ascii=False, default=str).encode()


def dumps(value: Any) -> bytes:
    """The JSON text of a value, in UTF-8."""
    return orjson.dumps(value, default=_default)


class ExactJSONProvider(JSONProvider):
    """What Flask uses wherever it reads or writes JSON by itself."""

    def dumps(self, obj: Any, **_: Any) -> str:
        """As `dumps`, as text."""
        return dumps(obj).decode()

    def loads(self, s: str | bytes, **_: Any) -> Any:
        """As `loads`."""
        return loads(s)


class DuplicateKey(ValueError):
    """One key twice in an object: which of the two was meant?"""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise DuplicateKey("a key is given more than once")
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Made once: making one costs as much as a small parse.
_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse, object_pairs_hook=_object)


def _default(value: Any) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(as_json(value))
    raise TypeError(f"{type(value).__name__} has no JSON form")
