"""The Procfile is read as a platform reads it."""

from pathlib import Path

import pytest

from dev import procfile
from dev.errors import RunError


def test_processes_keep_their_order_and_their_colons():
    text = "# comment\n\nrelease: alembic upgrade head\nweb:  gunicorn wsgi:app --bind [::]:$PORT  \n"
    assert list(procfile.parse(text).items()) == [
        ("release", "alembic upgrade head"),
        ("web", "gunicorn wsgi:app --bind [::]:$PORT"),
    ]


def test_a_line_that_is_no_process_is_named():
    with pytest.raises(RunError, match=r"no `name: command`: web gunicorn$"):
        procfile.parse("web gunicorn\n")


def test_the_projects_own_procfile_has_its_five_processes():
    assert list(procfile.read(Path("Procfile"))) == ["release", "web", "worker", "deliver", "clock"]
