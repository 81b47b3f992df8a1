"""A stand-in for the service: as much of it as `make run` touches, so that its supervisor can be tried out alone."""

import os
import secrets
from pathlib import Path

import click
from flask import Flask, request
from flask.typing import ResponseReturnValue

KEY = Path("issued-key")

app = Flask(__name__)


@app.get("/healthz")
def healthz() -> str:
    return "ok"


@app.post("/v1/auth/token")
def token() -> ResponseReturnValue:
    if KEY.exists() and request.get_json()["api_key"] == KEY.read_text():
        return {"data": {"refresh_token": "", "token": "the-token", "token_type": "Bearer"}}
    return {"error": "Unauthorized"}, 401


@app.cli.command("demo")
@click.argument("action")
def demo(action: str) -> None:
    click.echo(f"{action} into {os.environ['DATABASE_URL']}")


@app.cli.command("key")
@click.argument("action")
@click.argument("client")
def key(action: str, client: str) -> None:
    KEY.write_text(f"pbx_{client}_{secrets.token_hex(8)}")
    click.echo(f"The key is shown once:\n{KEY.read_text()}")


@app.cli.command("webhook")
@click.argument("action")
@click.argument("client")
@click.argument("url")
def webhook(action: str, client: str, url: str) -> None:
    with Path("endpoints").open("a") as endpoints:
        endpoints.write(f"{url}\n")
    click.echo("The secret is shown once:\nwhsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
