"""The demo client's own things: an API key that works, and an endpoint for the demo subscriber.

Both are kept from run to run, and neither is believed: the database may be another one, or new, or the key
revoked.
"""

import json
from dataclasses import asdict, dataclass
from http import HTTPStatus

from dev.commands import Commands
from dev.embedded.ports import free_port, is_free
from dev.errors import RunError
from dev.kept import Kept
from dev.web import Web

CLIENT = "demo"
KEY, SUBSCRIBER = "demo-api-key", "demo-subscriber"


@dataclass(frozen=True)
class Subscriber:
    """Where the demo subscriber listens, and the secret that its webhooks are signed with."""

    port: int
    secret: str


class Demo:
    """Makes, keeps and checks what a run shows."""

    def __init__(self, commands: Commands, kept: Kept, web: Web) -> None:
        self.commands, self.kept, self.web = commands, kept, web

    def credentials(self) -> tuple[str, Subscriber]:
        """The API key and the subscriber. A key that is void means that the kept endpoint is, too."""
        key = self.kept.read(KEY)
        if key and self._is_known(key):
            return key, self._kept_subscriber() or self._new_subscriber()
        return self._new_key(), self._new_subscriber()

    def _is_known(self, key: str) -> bool:
        status = self.web.token_status(key)
        if status not in {HTTPStatus.OK, HTTPStatus.UNAUTHORIZED}:
            raise RunError(f"The kept demo API key can't be checked: POST /v1/auth/token answers {status}.")
        return status == HTTPStatus.OK

    def _new_key(self) -> str:
        key = self.commands.secret("key", "create", CLIENT)
        self.kept.write(KEY, key)
        return key

    def _kept_subscriber(self) -> Subscriber | None:
        """The one of the last run, unless somebody else has its port by now."""
        text = self.kept.read(SUBSCRIBER)
        subscriber = Subscriber(**json.loads(text)) if text else None
        return subscriber if subscriber and is_free(subscriber.port) else None

    def _new_subscriber(self) -> Subscriber:
        port = free_port()
        secret = self.commands.secret("webhook", "add", CLIENT, f"http://127.0.0.1:{port}/")
        subscriber = Subscriber(port, secret)
        self.kept.write(SUBSCRIBER, json.dumps(asdict(subscriber)))
        return subscriber
