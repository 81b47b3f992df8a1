import socket
import threading
import uuid
from ipaddress import ip_network

import pytest

from service.db.transaction import transaction
from service.errors import Invalid, NotFound
from service.webhooks import resolver
from service.webhooks.endpoints import add_endpoint, change_endpoint
from service.webhooks.vault import Vault

VAULT = Vault("the key of these tests")
LOOPBACK = (ip_network("127.0.0.0/8"),)


def test_an_endpoint_is_added_with_a_secret_of_its_own(queue, engine):
    endpoint, secret = add_endpoint(engine, queue.client_id, "https://hooks.example.com/pbx?a=1", vault=VAULT)
    (row,) = queue.rows("SELECT * FROM webhook_endpoint WHERE client_id = :client")
    assert (row.id, row.url, VAULT.open(row.secret), row.event_types) == (
        endpoint,
        "https://hooks.example.com/pbx?a=1",
        secret,
        None,
    )
    assert secret.startswith("whsec_")
    assert row.secret.startswith("v1:")


def test_an_endpoint_may_ask_for_some_event_types(queue, engine):
    add_endpoint(
        engine, queue.client_id, "https://a.example/", ["customer.status.changed", "customer.created"], vault=VAULT
    )
    types = queue.scalar("SELECT event_types FROM webhook_endpoint WHERE client_id = :client")
    assert types == ["customer.created", "customer.status.changed"]


@pytest.mark.parametrize("types", [[], ["customer.exploded"]])
def test_event_types_must_be_some_that_exist(queue, engine, types):
    with pytest.raises(Invalid, match="event_types must name some of"):
        add_endpoint(engine, queue.client_id, "https://a.example/", types, vault=VAULT)


def test_a_client_that_does_not_exist_has_no_endpoints(engine):
    with pytest.raises(NotFound):
        add_endpoint(engine, uuid.uuid4(), "https://a.example/", vault=VAULT)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com",
        "ftp://a.example/",
        "https://",
        "https:///path",
        "https://user@a.example/",
        "https://user:pass@a.example/",
        "https://:@a.example/",
        "https://a.example:notaport/",
        "https://a.example:99999/",
        "https://a.example/#fragment",
        "https://a.example/with space",
        "https://a.example/\r\nX: y",
        "https://\u0430.example/",
        "https://a.example/" + "x" * 2000,
        "https://a.example:8080/",
        "http://a.example/",
        "http://127.0.0.1/",
        "http://localhost/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/",
        "https://8.8.8.8:22/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f.0.0.1/",
        "https://0177.0.0.1/",
        "https://8.8.8.010/",
        "https://[::1",
    ],
)
def test_a_url_that_we_would_not_send_to_is_refused(queue, engine, url):
    with pytest.raises(Invalid, match="url"):
        add_endpoint(engine, queue.client_id, url, vault=VAULT)
    assert queue.scalar("SELECT count(*) FROM webhook_endpoint WHERE client_id = :client") == 0


@pytest.mark.parametrize(
    "url", ["https://a.example/", "https://a.example:8443/", "HTTPS://A.example", "https://8.8.8.8/"]
)
def test_https_to_the_public_is_taken(queue, engine, url):
    _, secret = add_endpoint(engine, queue.client_id, url, vault=VAULT)
    assert secret.startswith("whsec_")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/", "http://localhost.localdomain.invalid/", "http://8.8.8.8/"])
def test_http_is_taken_only_inside_the_allowed_networks(queue, engine, url):
    if "127.0.0.1" in url:
        add_endpoint(engine, queue.client_id, url, allow_networks=LOOPBACK, vault=VAULT)
    else:
        with pytest.raises(Invalid, match="https"):
            add_endpoint(engine, queue.client_id, url, allow_networks=LOOPBACK, vault=VAULT)


@pytest.fixture
def names(monkeypatch):
    """What names resolve to; a function is asked."""
    found = {}

    def lookup(host, port, **_):
        addresses = found[host]
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in (addresses() if callable(addresses) else addresses)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return found


def test_a_name_leads_inside_only_if_all_its_addresses_do(queue, engine, names):
    names["both.example"] = ["127.0.0.1", "8.8.8.8"]
    with pytest.raises(Invalid):
        add_endpoint(engine, queue.client_id, "http://both.example/", allow_networks=LOOPBACK, vault=VAULT)
    names["both.example"].pop()
    add_endpoint(engine, queue.client_id, "http://both.example/", allow_networks=LOOPBACK, vault=VAULT)


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["169.254.169.254"], ["10.0.0.1", "fd00::1"], ["64:ff9b::a00:1"]])
def test_a_name_that_leads_to_no_public_address_is_refused(queue, engine, names, addresses):
    names["inner.example"] = addresses
    with pytest.raises(Invalid, match="url must name a public address"):
        add_endpoint(engine, queue.client_id, "https://inner.example/", vault=VAULT)


def test_a_name_with_one_public_address_is_taken(queue, engine, names):
    """Behind a DNS64 resolver each IPv4 host has an IPv6 address too that we don't dial."""
    names["a.example"] = ["64:ff9b::808:808", "8.8.8.8"]
    assert add_endpoint(engine, queue.client_id, "https://a.example/", vault=VAULT)


def test_a_name_server_that_does_not_answer_holds_nobody_up(queue, engine, names, monkeypatch):
    never = threading.Event()
    names["slow.example"] = lambda: never.wait(10) or ["127.0.0.1"]
    monkeypatch.setattr(resolver, "PATIENCE", 0.1)
    assert add_endpoint(engine, queue.client_id, "https://slow.example/", vault=VAULT)
    never.set()


def test_a_url_is_changed_only_to_one_that_would_be_taken(queue, engine, names):
    names["a.example"], names["inner.example"] = ["8.8.8.8"], ["10.0.0.1"]
    endpoint, _ = add_endpoint(engine, queue.client_id, "https://a.example/", vault=VAULT)
    with pytest.raises(Invalid), transaction(engine) as tx:
        change_endpoint(tx, queue.client_id, endpoint, {"url": "https://inner.example/"}, VAULT)
