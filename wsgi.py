"""The WSGI entry point: `gunicorn wsgi:app`, and what every `flask …` command finds by itself."""

from service.app import create_app

app = create_app()
