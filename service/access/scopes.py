"""What an API key may do. A key has some of these; a route names the one that it needs."""

from enum import StrEnum


class Scope(StrEnum):
    """One permission of an API key."""

    CUSTOMER_READ = "customer:read"
    CUSTOMER_WRITE = "customer:write"
    CREDIT_WRITE = "credit:write"
    STATUS_WRITE = "status:write"
    CALL_READ = "call:read"
    CALL_WRITE = "call:write"
    WEBHOOK_MANAGE = "webhook:manage"


ALL_SCOPES = tuple(Scope)
