"""The tables as SQLAlchemy sees them, one file per family. The migrations make them; a test holds the two together."""

from service.models.base import Base
from service.models.call import CallLeg, CallRecord, CallTally
from service.models.checkpoint import CheckpointHead, LedgerCheckpoint
from service.models.client import ApiKey, Client
from service.models.customer import CallerId, Customer
from service.models.export import CallExport, CallExportChunk
from service.models.idempotency import IdempotencyKey
from service.models.imported import CustomerGroup, ImportedCall, ImportedCallerId, ImportedCard, ImportedRefill
from service.models.ledger import ChangeLog, FeedBase, Hold, LedgerEvent, LedgerReference, Outbox, Stream
from service.models.webhook import WebhookAttempt, WebhookDelivery, WebhookEndpoint

__all__ = [
    "ApiKey",
    "Base",
    "CallExport",
    "CallExportChunk",
    "CallLeg",
    "CallRecord",
    "CallTally",
    "CallerId",
    "ChangeLog",
    "CheckpointHead",
    "Client",
    "Customer",
    "CustomerGroup",
    "FeedBase",
    "Hold",
    "IdempotencyKey",
    "ImportedCall",
    "ImportedCallerId",
    "ImportedCard",
    "ImportedRefill",
    "LedgerCheckpoint",
    "LedgerEvent",
    "LedgerReference",
    "Outbox",
    "Stream",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookEndpoint",
]
