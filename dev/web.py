"""The running web process, asked over HTTP."""

import json
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException

SECONDS = 5.0


class Web:
    """The service on loopback. No proxy of the environment comes between, as it would with urllib or
    requests."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def is_up(self) -> bool:
        """Whether /healthz answers 200."""
        try:
            return self._status("GET", "/healthz") == 200  # noqa: PLR2004
        except (OSError, HTTPException):
            return False

    def token_status(self, api_key: str) -> int:
        """The status with which the service answers a request for a token: 200 for a key it knows."""
        body = json.dumps({"api_key": api_key})
        return self._status("POST", "/v1/auth/token", body, {"Content-Type": "application/json"})

    def _status(self, method: str, path: str, body: str = "", headers: Mapping[str, str] | None = None) -> int:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            connection.request(method, path, body, dict(headers or {}))
            return connection.getresponse().status
        finally:
            connection.close()
