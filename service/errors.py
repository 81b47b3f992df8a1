"""Every way in which the domain says no, as classes that carry data.

They know nothing of HTTP: `service/api/errors.py` is the one place that gives each a status code. The sentence of a
refusal is part of the contract (integrators match on it), so it is stable and never holds a secret or an internal name.
"""


class Refusal(Exception):
    """A request that was understood and is not carried out; `sentence` tells the caller why."""

    sentence = "refused"

    def __init__(self, sentence: str | None = None) -> None:
        self.sentence = sentence or self.sentence
        super().__init__(self.sentence)


class NotFound(Refusal):
    """There is no such thing, or it belongs to another client: the two answer alike."""

    sentence = "Not Found"


class CustomerNotFound(NotFound):
    """No customer of this client has that id, username or caller id."""

    sentence = "customer not found"


class AmbiguousReference(Refusal):
    """One text means two different customers."""

    def __init__(self, ref: str) -> None:
        super().__init__(
            f"'{ref}' means more than one customer: say id:{ref}, username:{ref} or caller_id:{ref}",
        )


class Unauthorized(Refusal):
    """No token, or one that is not good (any more)."""

    sentence = "Unauthorized"


class MissingScope(Refusal):
    """The key of this token may not do that."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"this API key lacks the scope {scope}")


class Invalid(Refusal):
    """A parameter or a body that breaks a rule; the sentence names the field and the reason."""


class AlreadyExists(Refusal):
    """Something with that name is there already."""


class Conflict(Refusal):
    """The state of things does not allow it."""


class InsufficientCredit(Conflict):
    """What is available (credit less what is held, and the credit limit) does not cover it."""

    sentence = "insufficient credit"


class ReferenceTaken(Conflict):
    """A payment's number that this client has used already; `event_id` is the event that it stands for."""

    def __init__(self, reference: str, event_id: str) -> None:
        super().__init__(f"reference '{reference}' was used already, by {event_id}")
        self.event_id = event_id


class MovedOn(Refusal):
    """The stream is not where the caller believed it to be; `seq` is where it is."""

    sentence = "the customer has changed since: read it again"

    def __init__(self, seq: int) -> None:
        super().__init__()
        self.seq = seq


class KeyReused(Refusal):
    """One Idempotency-Key for two different requests."""

    sentence = "Idempotency-Key: used already for another request"


class InFlight(Conflict):
    """The first request with this Idempotency-Key has not been answered yet."""

    sentence = "Idempotency-Key: the first request with it is still in flight"


class Unavailable(Refusal):
    """The database cannot be reached, or a lock was not to be had in time: nothing was changed, try again.

    `retry_after` is in seconds.
    """

    sentence = "the service is temporarily unavailable, try again"

    def __init__(self, sentence: str | None = None, retry_after: int = 2) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


class StreamBusy(Unavailable):
    """Another session holds the stream, and the call did not mean to wait for it."""


class OutcomeUnknown(Unavailable):
    """The database went away between a change and its answer: it may have been made, or not."""

    sentence = "the database went away before it answered: the change may have been made, read it back"


class TooManyRequests(Refusal):
    """More requests than the limit allows; `retry_after` is in seconds."""

    sentence = "too many requests, slow down"

    def __init__(self, retry_after: int) -> None:
        super().__init__()
        self.retry_after = retry_after


class Misconfigured(SystemExit):
    """The process cannot run as it is set up.

    A `SystemExit` with a sentence: whichever process meets it (gunicorn's master, a worker, `flask …`) prints that
    sentence to standard error and ends with status 1, without a trace.
    """
