import base64
import uuid

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from service.webhooks.signing import new_secret, signature
from tests.webhooks.queue import SECRET

VECTOR = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_vector_of_the_specification_is_signed_as_it_says():
    signed = signature([VECTOR], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_secret_signs_once_and_in_order():
    old, new = new_secret(), new_secret()
    both = signature([new, old], "msg_1", 1614265330, b"{}")
    assert both.split(" ") == [
        signature([new], "msg_1", 1614265330, b"{}"),
        signature([old], "msg_1", 1614265330, b"{}"),
    ]


@pytest.mark.parametrize("field", ["id", "timestamp", "body"])
def test_the_signature_covers_id_timestamp_and_body(field):
    values = {"id": "msg_1", "timestamp": 1614265330, "body": b"{}"}
    other = {"id": "msg_2", "timestamp": 1614265331, "body": b"[]"}
    assert signature([VECTOR], *values.values()) != signature([VECTOR], *{**values, field: other[field]}.values())


def test_a_new_secret_has_32_random_bytes_that_the_library_can_read():
    secret = new_secret()
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    assert secret != new_secret()
    Webhook(secret)


def test_what_a_real_server_received_is_verified_by_the_library(queue, subscriber, send):
    queue.owe_to(subscriber.url("/hook"))
    send()
    (received,) = subscriber.received
    assert Webhook(SECRET).verify(received.body, received.headers)["type"] == "customer.credit.changed"
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(received.body, received.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(received.body + b" ", received.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(received.body, received.headers | {"webhook-id": f"msg_{uuid.uuid4().hex}"})
