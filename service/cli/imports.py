"""`flask import …`: what other systems hold, brought in. Each command has a file of its own."""

from __future__ import annotations

from service.cli.group import Group, check_schema

group = Group("import", help="Bring in what other systems hold.", callback=check_schema)
