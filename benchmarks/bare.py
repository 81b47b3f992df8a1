"""What the API is measured against: a Flask route that stores one number with a plain INSERT, and nothing else.

No authentication, no validation, no hash, no second table, no doorbell, no log line: the least that a Flask service
which stores something durably can do, through SQLAlchemy, under the same gunicorn settings. `/commit` does it as such
services do, in a transaction that it commits; `/autocommit` saves the two round trips of that, which is the limit.
"""

from __future__ import annotations

from flask import Flask, request
from sqlalchemy import text

from service.config import Config
from service.db.engine import make_engine

app = Flask(__name__)
autocommit = make_engine(Config.from_environ())
committing = autocommit.execution_options(isolation_level="READ COMMITTED")
INSERT = text("INSERT INTO bare_insert (credit) VALUES (:credit)")


@app.put("/commit")
def put_commit() -> dict[str, str]:
    """BEGIN, INSERT, COMMIT."""
    with committing.begin() as connection:
        connection.execute(INSERT, {"credit": request.get_json()["credit"]})
    return {"message": "successfully"}


@app.put("/autocommit")
def put_autocommit() -> dict[str, str]:
    """INSERT, which commits by itself."""
    with autocommit.connect() as connection:
        connection.execute(INSERT, {"credit": request.get_json()["credit"]})
    return {"message": "successfully"}
