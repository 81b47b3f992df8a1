import socket
from collections import defaultdict
from dataclasses import replace
from ipaddress import ip_network

import pytest

from service.webhooks.dispatch import Summary, dispatch
from service.webhooks.guard import AddressRefused, guarded_sockets, may_dial
from service.webhooks.transport import MAX_ANSWER
from tests.webhooks.subscriber import answers

REFUSED = {
    "this network": ["0.0.0.0", "0.255.255.255"],
    "private": ["10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0", "192.168.255.255"],
    "carrier-grade NAT, and a cloud's metadata in it": ["100.64.0.0", "100.127.255.255", "100.100.100.200"],
    "loopback": ["127.0.0.0", "127.0.0.1", "127.255.255.255"],
    "link-local, and the metadata service": ["169.254.0.0", "169.254.169.254", "169.254.255.255"],
    "a cloud's host under a public address": ["168.63.129.16"],
    "protocol assignments": ["192.0.0.0", "192.0.0.170", "192.0.0.255"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.255"],
    "anycast of protocols": ["192.31.196.1", "192.52.193.1", "192.88.99.1", "192.175.48.1"],
    "benchmarks": ["198.18.0.0", "198.19.255.255"],
    "multicast": ["224.0.0.1", "239.255.255.255"],
    "reserved and broadcast": ["240.0.0.0", "255.255.255.255"],
    "unspecified and loopback in IPv6": ["::", "::1"],
    "IPv4-mapped": ["::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"],
    "IPv4-compatible": ["::127.0.0.1", "::8.8.8.8"],
    "IPv4-translated": ["::ffff:0:127.0.0.1"],
    "NAT64": ["64:ff9b::127.0.0.1", "64:ff9b::808:808", "64:ff9b:1::a00:1"],
    "discard": ["100::1", "100:0:0:1::1"],
    "Teredo and other protocol assignments": ["2001::1", "2001:10::1", "2001:20::1", "2001:1ff:ffff::1"],
    "documentation in IPv6": ["2001:db8::1", "3fff::1", "3fff:fff:ffff::1"],
    "6to4, which embeds IPv4": ["2002:7f00:1::1", "2002:a00:1::1"],
    "anycast in IPv6": ["2620:4f:8000::1"],
    "segment routing": ["5f00::1"],
    "unique local": ["fc00::1", "fd00:ec2::254"],
    "link-local in IPv6": ["fe80::1", "fe80::1%eth0"],
    "site-local": ["fec0::1"],
    "multicast in IPv6": ["ff02::1", "ff0e::1"],
    "outside global unicast": ["4000::1", "1fff::1"],
}
PUBLIC = ["1.1.1.1", "8.8.8.8", "99.255.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1", "168.63.129.17"]
PUBLIC += ["172.15.255.255", "172.32.0.0", "192.0.1.1", "192.167.1.1", "198.17.1.1", "198.20.0.0", "223.255.255.255"]
PUBLIC += ["2606:4700::1111", "2a00:1450::1", "2001:200::1", "2001:4860::8888", "3ffe::1", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("address", [a for addresses in REFUSED.values() for a in addresses])
def test_no_special_address_may_be_dialled(address):
    assert not may_dial(address, 443, (), tls=True)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_dialled_with_tls_on_its_ports(address):
    assert may_dial(address, 443, (), tls=True)
    assert may_dial(address, 8443, (), tls=True)


@pytest.mark.parametrize(("port", "tls"), [(443, False), (80, False), (22, True), (80, True), (444, True), (0, True)])
def test_a_public_address_may_not_be_dialled_otherwise(port, tls):
    assert not may_dial("8.8.8.8", port, (), tls=tls)


def test_an_allowed_network_passes_on_any_port_and_without_tls():
    allow = (ip_network("10.1.0.0/16"), ip_network("fd00::/8"))
    assert may_dial("10.1.2.3", 8080, allow, tls=False)
    assert may_dial("::ffff:10.1.2.3", 8080, allow, tls=False)
    assert may_dial("fd12::1", 80, allow, tls=False)
    assert not may_dial("10.2.0.1", 443, allow, tls=True)
    assert not may_dial("8.8.8.8", 80, allow, tls=False)


def test_no_socket_is_made_for_a_refused_address(monkeypatch):
    monkeypatch.setattr(socket, "socket", lambda *_: pytest.fail("a socket was made"))
    make = guarded_sockets((), tls=True)
    with pytest.raises(AddressRefused):
        make((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 443)))
    with pytest.raises(AddressRefused):
        make((socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 443, 0, 0)))


def test_a_subscriber_can_fill_no_more_of_our_memory_than_we_would_read():
    make = guarded_sockets((ip_network("127.0.0.0/8"),), tls=True)
    with make((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 443))) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= MAX_ANSWER


@pytest.fixture
def strict(settings):
    """Only one address of loopback is allowed; the subscriber listens on another."""
    return replace(settings, webhook_allow_networks=(ip_network("127.9.9.9/32"),))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "127.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_loopback_in_any_notation_gets_no_connection(queue, subscriber, engine, strict, host, scheme):
    queue.owe_to(f"{scheme}://{host}:{subscriber.port}/")
    assert dispatch(engine, strict, stop=lambda: False) == Summary(retry=1)
    assert queue.attempts()[0].error in {"address refused", "bad url"}  # aiohttp itself refuses some notations
    assert subscriber.connections == 0


@pytest.fixture
def names(monkeypatch):
    """What names resolve to, one answer after the other; the last one stays."""
    answers_of, real = defaultdict(list), socket.getaddrinfo

    def lookup(host, port, *args, **kwargs):
        if host not in answers_of:
            return real(host, port, *args, **kwargs)
        addresses = answers_of[host].pop(0) if len(answers_of[host]) > 1 else answers_of[host][0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return answers_of


def test_a_name_that_resolves_to_a_refused_address_gets_no_connection(queue, subscriber, engine, strict, names):
    names["hooks.example.com"] = [["127.0.0.1"]]
    queue.owe_to(f"http://hooks.example.com:{subscriber.port}/")
    dispatch(engine, strict, stop=lambda: False)
    assert queue.attempts()[0].error == "address refused"
    assert subscriber.connections == 0


def test_a_name_that_rebinds_after_it_was_registered_gets_no_connection(queue, subscriber, engine, strict, names):
    names["hooks.example.com"] = [["127.9.9.9"], ["127.0.0.1"]]
    url = f"http://hooks.example.com:{subscriber.port}/"
    from service.webhooks.endpoints import check_url

    check_url(url, strict.webhook_allow_networks)
    queue.owe_to(url)
    dispatch(engine, strict, stop=lambda: False)
    assert queue.attempts()[0].error == "address refused"
    assert subscriber.connections == 0


def test_of_a_name_with_several_addresses_only_an_allowed_one_is_dialled(queue, subscriber, engine, settings, names):
    names["hooks.example.com"] = [["169.254.169.254", "127.0.0.1"]]
    queue.owe_to(f"http://hooks.example.com:{subscriber.port}/")
    assert dispatch(engine, settings, stop=lambda: False) == Summary(delivered=1)


def test_a_name_that_does_not_exist_is_said_to(queue, engine, settings):
    queue.owe_to("https://no-such-host.invalid/")
    assert dispatch(engine, settings, stop=lambda: False) == Summary(retry=1)
    assert queue.attempts()[0].error == "name not found"


def test_a_redirect_to_the_metadata_service_is_not_followed(queue, subscriber, engine, settings):
    queue.owe_to(subscriber.url("/hook", answers(307, "Location: http://169.254.169.254/latest/meta-data/")))
    dispatch(engine, settings, stop=lambda: False)
    assert queue.attempts()[0].error == "redirect"


def test_a_proxy_of_the_environment_is_not_used(queue, subscriber, engine, settings, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    queue.owe_to(subscriber.url("/hook"))
    assert dispatch(engine, settings, stop=lambda: False) == Summary(delivered=1)
