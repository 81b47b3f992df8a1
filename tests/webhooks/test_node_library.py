"""npm's `standardwebhooks` accepts what we send. Only where node and the package are there."""

import json
import shutil
import subprocess

import pytest

from tests.webhooks.queue import SECRET

_VERIFY = """
const { Webhook } = require("standardwebhooks");
const { secret, body, headers } = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(new Webhook(secret).verify(body, headers).type);
"""


def _why_not() -> str | None:
    node = shutil.which("node")
    if not node:
        return "node is not installed"
    found = subprocess.run([node, "-e", 'require("standardwebhooks")'], capture_output=True, check=False, timeout=20)
    return "npm's standardwebhooks is not installed" if found.returncode else None


def test_the_library_of_node_verifies_a_delivery(queue, subscriber, send):
    if reason := _why_not():
        pytest.skip(reason)
    queue.owe_to(subscriber.url("/hook"))
    send()
    (received,) = subscriber.received
    told = {"secret": SECRET, "body": received.body.decode(), "headers": received.headers}
    verified = subprocess.run(
        ["node", "-e", _VERIFY], input=json.dumps(told), capture_output=True, text=True, check=True, timeout=20
    )
    assert verified.stdout.strip() == "customer.credit.changed"
