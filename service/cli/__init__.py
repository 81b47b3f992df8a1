"""The `flask …` commands: parse, call the domain, print. A refusal is one sentence and exit status 1."""

from __future__ import annotations

from flask import Flask

from service.cli import (
    client,
    demo,
    import_a2billing,  # noqa: F401  it adds itself to the group of imports
    import_calls,  # noqa: F401  the same
    imports,
    key,
    ledger,
    webhook,
)


def register_commands(app: Flask) -> None:
    """Add every command of the service to an app."""
    for module in (client, key, webhook, ledger, imports, demo):
        app.cli.add_command(module.group)
