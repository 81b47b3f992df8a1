"""The code that docs/webhooks.md gives to those who use no library takes what we send, and nothing else."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from service.webhooks.signing import new_secret
from tests.webhooks.queue import SECRET

PAGE = (Path(__file__).resolve().parents[2] / "docs/webhooks.md").read_text()
_CALL = """
const { secret, headers, body } = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(isSigned(secret, headers, Buffer.from(body)));
"""


def snippet(language, name):
    (found,) = [code for code in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if name in code]
    return found


def in_python(secret, headers, body):
    names = {}
    exec(snippet("python", "def is_signed"), names)  # the page's own code
    return names["is_signed"](secret, headers, body)


def in_javascript(secret, headers, body):
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    told = json.dumps({"secret": secret, "headers": headers, "body": body.decode()})
    code = snippet("js", "function isSigned") + _CALL
    answer = subprocess.run(["node", "-e", code], input=told, capture_output=True, text=True, check=True, timeout=20)
    return answer.stdout == "true\n"


@pytest.mark.parametrize("is_signed", [in_python, in_javascript])
def test_the_verifier_of_the_page_takes_what_is_sent_and_nothing_else(queue, subscriber, send, is_signed):
    queue.owe_to(subscriber.url("/hook"))
    send()
    (received,) = subscriber.received
    headers, body = received.headers, received.body
    assert is_signed(SECRET, headers, body)
    rotated = {"webhook-signature": f"v1,bm90IGl0 {headers['webhook-signature']}"}
    assert is_signed(SECRET, headers | rotated, body)
    assert not is_signed(new_secret(), headers, body)
    assert not is_signed(SECRET, headers, body + b" ")
    assert not is_signed(SECRET, headers | {"webhook-id": "msg_1"}, body)
    for stamp in ("", "soon", str(int(time.time()) - 3600)):
        assert not is_signed(SECRET, headers | {"webhook-timestamp": stamp}, body)
    assert not is_signed(SECRET, headers | {"webhook-signature": ""}, body)
