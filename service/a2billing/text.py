"""What the bytes of a text column were meant to say.

Old A2Billing installations hold three things in columns that claim to be UTF-8: UTF-8, cp1252, and UTF-8 that was taken
for cp1252 on its way in and encoded once more. MySQL's latin1 is cp1252 with latin-1 in its five holes, and so is the
code page here.
"""

from __future__ import annotations

import codecs
import re

MOST_LAYERS = 3  # of encoding over encoding; more has not been seen

_DECODING = "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(256))
# Back to bytes, from either: what read a byte as latin-1 has left control characters where cp1252 has letters.
_ENCODING = {byte: byte for byte in range(256)} | {ord(char): byte for byte, char in enumerate(_DECODING)}
_IN_ANGLES = re.compile(r"<([^<>]*)>")
_DECORATION = re.compile(r"[\s\-\u2010-\u2015()\[\]{}<>\"]")


def clean_text(raw: bytes | str | None) -> str:
    """The text of a column: decoded, repaired, and without NUL, which PostgreSQL can't hold. None is no text.

    >>> clean_text("José".encode()), clean_text(b"Jos\\xe9"), clean_text("JosÃ©".encode())
    ('José', 'José', 'José')
    """
    if raw is None:
        return ""
    text = _decode(raw) if isinstance(raw, bytes) else raw
    return repaired(text).replace("\0", "")


def repaired(text: str) -> str:
    """The text with surplus layers of encoding taken off. What was encoded once is left alone."""
    for _ in range(MOST_LAYERS):
        if text.isascii():
            break
        try:
            text = codecs.charmap_encode(text, "strict", _ENCODING)[0].decode()
        except UnicodeError:
            break
    return text


def clean_number(text: str) -> str:
    r"""A caller id as a number is dialled: what stands in angle brackets, without spaces, dashes and brackets.

    >>> clean_number('"Bob" <0123>'), clean_number("+84 (28) 38-22")
    ('0123', '+84283822')
    """
    inside = _IN_ANGLES.search(text)
    return _DECORATION.sub("", inside[1] if inside and inside[1].strip() else text)


def _decode(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return codecs.charmap_decode(raw, "strict", _DECODING)[0]
