import pytest

from service.errors import Invalid
from service.webhooks.headers import check_headers

OURS = [
    "webhook-id", "Webhook-Signature", "webhook-anything", "content-type", "Content-Length", "host", "user-agent",
    "transfer-encoding", "connection", "Cookie", "expect", "te", "upgrade", "proxy-authorization",
]  # fmt: skip


@pytest.mark.parametrize("name", OURS)
def test_what_is_ours_or_https_own_cannot_be_set(name):
    with pytest.raises(Invalid, match=f"headers: {name} cannot be set"):
        check_headers({name: "x"})


@pytest.mark.parametrize("name", ["X-Token", "authorization", "x_y", "!#$%&'*+.^_`|~", "a" * 100])
@pytest.mark.parametrize("value", ["x", "a b", "~" * 500, '"{}:;,"'])
def test_other_headers_are_taken(name, value):
    check_headers({name: value})


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "ü", "a\x00", "a" * 101, "(x)"])
def test_a_name_is_a_token(name):
    with pytest.raises(Invalid, match="must be the name of an HTTP header"):
        check_headers({name: "x"})


@pytest.mark.parametrize("value", ["", " ", "a ", "\ta", "a\r\nX: y", "a\x7f", "é", "x" * 501])
def test_a_value_is_one_line_of_printable_ascii_and_no_sentence_repeats_it(value):
    with pytest.raises(Invalid) as refused:
        check_headers({"x": value})
    assert refused.value.sentence == "headers: the value of x must be 1 to 500 printable ASCII characters"
