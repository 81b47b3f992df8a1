"""The one screen a newcomer sees: where the service is, a key, and three lines to paste."""

import json
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.rule import Rule
from rich.table import Table

PASSWORD = re.compile(r"(://[^:/@]*):[^@]*@")

CUSTOMER = 1
CREDIT = 25.5

# Answers may be spread over lines or not: print the one match, and mind that `refresh_token` comes before it.
PICK_TOKEN = r"""sed -n 's/.*"token": *"\([^"]*\)".*/\1/p'"""  # noqa: S105  # a sed script


def paste_lines(url: str, api_key: str) -> list[str]:
    """Token, set credit, read it back: for any shell, with nothing but curl and sed."""
    asked, credit = json.dumps({"api_key": api_key}), json.dumps({"credit": CREDIT})
    as_json, signed = "-H 'Content-Type: application/json'", '-H "Authorization: Bearer $TOKEN"'
    return [
        f"TOKEN=$(curl -s -X POST {url}/v1/auth/token {as_json} -d '{asked}' | {PICK_TOKEN})",
        f"curl -X PUT {url}/v1/customer/{CUSTOMER}/credit {signed} {as_json} -d '{credit}'",
        f"curl {url}/v1/customer/{CUSTOMER} {signed}",
    ]


def show(url: str, api_key: str, database_url: str, data: Path) -> None:
    """Print the screen. The lines to paste stand without a frame and unwrapped, or they could not be
    pasted."""
    console = Console(highlight=False)
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(url, api_key, database_url, data):
        facts.add_row(f"[bold]{name}", f"[cyan]{value}")
    console.print(Rule("[bold]pbx-ledger is running"))
    console.print(facts)
    console.print("\n[bold]Paste into another terminal:\n")
    for line in paste_lines(url, api_key):
        console.print(f"  {line}", markup=False, soft_wrap=True)
    console.print()
    console.print(Rule("Ctrl-C ends everything; the data stays"))
    sys.stdout.flush()


def _facts(url: str, api_key: str, database_url: str, data: Path) -> list[tuple[str, str]]:
    return [
        ("Base URL", url),
        ("Documentation", f"{url}/docs"),
        ("Demo API key", api_key),
        ("PostgreSQL", PASSWORD.sub(r"\1:…@", database_url)),
        ("Data", str(data)),
    ]


def step(text: str) -> None:
    """One line about what takes a second before the screen appears."""
    print(text, flush=True)
