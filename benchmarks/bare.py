"""What the API is measured against: a Flask route that does one plain INSERT with a commit, and nothing else.

No authentication, no validation, no hash, no second table, no doorbell, no log line: the least that a Flask service
which stores something durably can do, through the same SQLAlchemy engine and the same gunicorn settings.
"""

from __future__ import annotations

from flask import Flask, request
from sqlalchemy import text

from service.config import Config
from service.db.engine import make_engine

app = Flask(__name__)
engine = make_engine(Config.from_environ())
INSERT = text("INSERT INTO bare_insert (credit) VALUES (:credit)")


@app.put("/bare")
def put_bare() -> dict[str, str]:
    """Store one number."""
    with engine.begin() as connection:
        connection.execute(INSERT, {"credit": request.get_json()["credit"]})
    return {"message": "successfully"}
