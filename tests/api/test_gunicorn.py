"""What only a real server shows: chunked bodies, broken requests, the one error shape."""

from __future__ import annotations

import socket

import pytest
import requests

from service.access.keys import create_client, create_key
from tests.support.client import add_customer
from tests.support.ledger import events

LIMIT = 1024 * 1024


@pytest.fixture
def served(processes, own_engine):
    client = create_client(own_engine, "gunicorn")
    key = create_key(own_engine, client)[1]
    processes.customer = add_customer(own_engine, client)
    processes.start_web()
    token = requests.post(f"{processes.url}/v1/auth/token", json={"api_key": key}).json()["data"]["token"]
    processes.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    return processes


def put(served, chunks):
    url = f"{served.url}/v1/customer/{served.customer}/credit"
    answer = requests.put(url, data=iter(chunks), headers=served.headers)
    return answer.status_code, answer.json()


def test_a_chunked_body_is_read_whole_or_refused(served, own_engine):
    assert put(served, [b'{"cre', b'dit": ', b"7}"])[0] == 200
    too_large = (413, {"error": "the request body is too large"})
    assert put(served, [b'{"credit": 77}', b" " * LIMIT, b"garbage"]) == too_large
    assert put(served, [b'{"credit": 77', b" " * LIMIT, b"}"]) == too_large
    assert [event.balance_after for event in events(own_engine, served.customer)] == [0, 7]


def raw(served, *lines: str, body: bytes = b"") -> bytes:
    head = [f"PUT /v1/customer/{served.customer}/credit HTTP/1.1", "Host: x", "Connection: close", *lines]
    head += [f"{name}: {value}" for name, value in served.headers.items()]
    with socket.create_connection(("127.0.0.1", served.port), 10) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode() + body)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


def test_a_body_that_breaks_off_or_breaks_the_rules_changes_nothing(served, own_engine):
    short = raw(served, "Content-Length: 100", body=b'{"credit": 9}')
    assert b" 400 " in short.splitlines()[0]
    assert b"body: shorter than its Content-Length" in short
    broken = raw(served, "Transfer-Encoding: chunked", body=b"zz\r\n{}\r\n0\r\n\r\n")
    assert b" 400 " in broken.splitlines()[0]
    assert len(events(own_engine, served.customer)) == 1


def test_odd_paths_and_methods_are_answered_in_the_one_shape(served):
    for path in ("/v1//customer", "/v1/customer//1"):
        answer = requests.get(f"{served.url}{path}", allow_redirects=False)
        assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"})
    docs = requests.get(f"{served.url}/docs", headers={"Host": "evil.example"}, allow_redirects=False)
    assert docs.headers["Location"] == "/docs/"
    for n in range(5):
        requests.request(f"INVENTED{n}", f"{served.url}/v1/customer")
    assert "INVENTED" not in requests.get(f"{served.url}/metrics").text
