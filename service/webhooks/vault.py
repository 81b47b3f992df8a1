"""What must be read again and must not lie in the database in clear: signing secrets, subscribers' own headers, and
kept answers that show a secret.

A hash would not do, since every POST is signed with the secret itself. So the values are encrypted (Fernet: AES-128-CBC
and HMAC-SHA256), with a key that is derived from one in the environment: whoever has a dump of the database and not the
environment has nothing. Anything that was not encrypted with a key at hand is refused, never guessed at.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from service.config import Config
from service.errors import Conflict
from service.webhooks.signing import PREFIX as IN_CLEAR

MARK = "v1:"  # how a sealed value begins; another way to seal would get another
_LABEL = b"pbx-ledger vault v1"  # so that this key is none that is used for anything else (RFC 5869 §3.2)
_FERNET_KEY = 32  # bytes


class Unreadable(Conflict):
    """A value that none of the keys opens: the one that sealed it is gone, or somebody has changed the value."""

    sentence = "what was kept encrypted cannot be read with the keys that are set now"


class Vault:
    """Seals with the first key and opens with any. Safe to share between threads."""

    def __init__(self, *keys: str) -> None:
        self._fernet = MultiFernet([Fernet(_derived(key)) for key in keys])

    def seal(self, text: str) -> str:
        """The text, encrypted. The same text twice makes two values."""
        return self.seal_bytes(text.encode()).decode()

    def open(self, value: str) -> str:
        """What was sealed; a secret from a release that kept them in clear is read as it is. Raises Unreadable."""
        return value if value.startswith(IN_CLEAR) else self.open_bytes(value.encode()).decode()

    def seal_bytes(self, data: bytes) -> bytes:
        """Some bytes, encrypted, as ASCII."""
        return MARK.encode() + self._fernet.encrypt(data)

    def open_bytes(self, value: bytes) -> bytes:
        """The bytes that were sealed. Raises Unreadable."""
        if not value.startswith(MARK.encode()):
            raise Unreadable
        try:
            return self._fernet.decrypt(value.removeprefix(MARK.encode()))
        except InvalidToken:
            raise Unreadable from None

    def reseal(self, value: str) -> str:
        """The same content under the first key. Raises Unreadable."""
        return self.seal(self.open(value))


def vault_of(config: Config) -> Vault:
    """The vault of a process.

    ENCRYPTION_KEY seals, or SECRET_KEY where there is none. All that are set can open, so that an ENCRYPTION_KEY can be
    introduced, and any of them be rotated, without a moment in which something can't be read.
    """
    keys = (config.encryption_key, config.encryption_key_previous, config.secret_key, config.secret_key_previous)
    first = config.encryption_key or config.secret_key
    return Vault(first, *(key for key in keys if key and key != first))


def _derived(key: str) -> bytes:
    kdf = HKDF(algorithm=SHA256(), length=_FERNET_KEY, salt=None, info=_LABEL)
    return urlsafe_b64encode(kdf.derive(key.encode()))
