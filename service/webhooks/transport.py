"""One POST, with nothing in it that a subscriber could use against us or against other subscribers.

A total timeout that holds against a dripping server, no redirects, no cookies, no proxies from the environment, no
decompression (so no bomb to go off), an answer read to 16 KB and dropped, few answers that are none yet (1xx), and the
guard under every dial.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

import aiohttp
import structlog

from service.clock import now
from service.config import Network
from service.webhooks.claim import Claim
from service.webhooks.guard import AddressRefused, guarded_sockets
from service.webhooks.headers import read_headers
from service.webhooks.interim import BoundedConnector
from service.webhooks.resolver import NoThread, ThreadedResolver
from service.webhooks.retry_after import seconds_to_wait
from service.webhooks.signing import signature
from service.webhooks.vault import Unreadable, Vault
from service.webhooks.verdict import Failure, Retryable, Verdict, is_success, judge

USER_AGENT = "pbx-ledger/1 (webhooks)"
MAX_ANSWER = 16 * 1024  # bytes
# Seconds that an idle connection is kept. Short: a server that closes it just as the next POST goes out costs that
# delivery an attempt, and under load connections are never idle for long.
KEEP_ALIVE = 1.0

log = structlog.get_logger()


class Transport:
    """The connections to all endpoints. An async context manager."""

    def __init__(self, allow: Sequence[Network], timeout: float, vault: Vault) -> None:
        self._allow = allow
        self._vault = vault
        # Unrounded: aiohttp would stretch a longer one to the next full second, which a lease knows nothing of.
        self._timeout = aiohttp.ClientTimeout(total=timeout, ceil_threshold=timeout + 1)

    async def __aenter__(self) -> Transport:
        self._sessions = {"https": self._session(tls=True), "http": self._session(tls=False)}
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in self._sessions.values():
            await session.close()

    def _session(self, *, tls: bool) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=BoundedConnector(
                limit=0,  # the claim's caps are the limit; a second one here would only hide deliveries under lease
                resolver=ThreadedResolver(),
                socket_factory=guarded_sockets(self._allow, tls=tls),
                keepalive_timeout=KEEP_ALIVE,
            ),
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=MAX_ANSWER,
            headers={
                "Content-Type": "application/json",
                "User-Agent": USER_AGENT,
                "Accept-Encoding": "identity",
            },
        )

    async def post(self, claim: Claim) -> Verdict:
        """Send one delivery; every way in which it can end is a verdict."""
        try:
            return await self._post(claim)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Retryable(failure_of(error))
        except Exception:
            log.exception("webhook send broken", webhook_id=claim.webhook_id, delivery_id=str(claim.id))
            return Retryable(Failure.INTERNAL)

    async def _post(self, claim: Claim) -> Verdict:
        session = self._sessions[claim.url.partition(":")[0].lower()]
        async with session.post(
            claim.url, data=claim.body, headers=self._headers(claim, int(time.time())), allow_redirects=False
        ) as answer:
            return judge(answer.status, wait=_wait_of(answer), too_large=await _is_too_large(answer.content))

    def _headers(self, claim: Claim, timestamp: int) -> dict[str, str]:
        """The subscriber's own headers, and ours. Secrets are in clear here only, for as long as one request takes."""
        return {
            **read_headers(claim.headers, self._vault),
            "webhook-id": claim.webhook_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self._secrets(claim), claim.webhook_id, timestamp, claim.body),
        }

    def _secrets(self, claim: Claim) -> list[str]:
        """What a delivery is signed with. Only the current secret must open: that the key of the one before is lost may
        be why there is a current one. Raises Unreadable."""
        current, *previous = claim.secrets
        secrets = [self._vault.open(current)]
        for secret in previous:
            try:
                secrets.append(self._vault.open(secret))
            except Unreadable:
                log.warning("webhook previous secret unreadable", endpoint_id=str(claim.address.endpoint_id))
        return secrets


def _wait_of(answer: aiohttp.ClientResponse) -> float | None:
    """What an answer that says no asks for. A success has nothing to wait for, so its header is not even read."""
    return None if is_success(answer.status) else seconds_to_wait(answer.headers.get("Retry-After"), now())


async def _is_too_large(content: aiohttp.StreamReader) -> bool:
    """Read an answer to its end, so that the connection can be used again; but no further than MAX_ANSWER."""
    left = MAX_ANSWER + 1
    while left > 0 and (chunk := await content.read(left)):
        left -= len(chunk)
    return left <= 0


def failure_of(error: Exception) -> Failure:
    """The class of failure that an exception stands for."""
    for kinds, failure in _FAILURES:
        if isinstance(error, kinds):
            return failure
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Failure.INTERNAL if isinstance(error.os_error, NoThread) else Failure.NAME_NOT_FOUND
    if isinstance(error, aiohttp.ClientConnectorError):
        refused = isinstance(error.os_error, AddressRefused)
        return Failure.ADDRESS_REFUSED if refused else Failure.CANNOT_CONNECT
    return Failure.DISCONNECTED if isinstance(error, OSError) else Failure.BAD_ANSWER


# In order: the first that fits counts, and several of aiohttp's errors are kinds of one another.
_FAILURES: tuple[tuple[type[Exception] | tuple[type[Exception], ...], Failure], ...] = (
    (TimeoutError, Failure.TIMEOUT),
    (aiohttp.InvalidURL, Failure.BAD_URL),
    ((aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError), Failure.TLS),
    ((aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError), Failure.DISCONNECTED),
)
