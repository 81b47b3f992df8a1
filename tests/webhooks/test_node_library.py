"""npm's `standardwebhooks` accepts what we send, wherever node is installed. The lock file says which code that is."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.webhooks.queue import SECRET

MANIFEST = Path(__file__).with_name("node")
_VERIFY = """
const { Webhook } = require("standardwebhooks");
const { secret, body, headers } = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(new Webhook(secret).verify(body, headers).type);
"""


@pytest.fixture
def verify(tmp_path):
    """What node's library makes of a delivery; where there is no node, or no network to install from, skips."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node is not installed")
    shutil.copytree(MANIFEST, tmp_path, dirs_exist_ok=True)
    install = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1"]
    installed = subprocess.run(install, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    if installed.returncode:
        pytest.skip(f"npm could not install standardwebhooks: {installed.stderr.strip().splitlines()[0]}")

    def verify(secret, received, body=None):
        told = {"secret": secret, "body": body or received.body.decode(), "headers": received.headers}
        asked = {"input": json.dumps(told), "cwd": tmp_path, "capture_output": True, "text": True, "timeout": 20}
        return subprocess.run(["node", "-e", _VERIFY], check=False, **asked)

    return verify


def test_the_library_of_node_verifies_a_delivery_and_refuses_a_changed_one(queue, subscriber, send, verify):
    queue.owe_to(subscriber.url("/hook"))
    send()
    (received,) = subscriber.received
    verified = verify(SECRET, received)
    assert (verified.returncode, verified.stdout.strip()) == (0, "customer.credit.changed")
    refused = verify(SECRET, received, body=received.body.decode().replace("credit.changed", "credit.charged"))
    assert refused.returncode != 0
    assert "WebhookVerificationError" in refused.stderr
