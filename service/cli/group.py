"""What all commands share: refusals become sentences, and none runs against the wrong schema."""

from __future__ import annotations

from typing import Any

import click
from flask.cli import AppGroup, with_appcontext

from service.api.context import services
from service.db.schema import require_current
from service.errors import Refusal


class Group(AppGroup):
    """A group of commands over the domain."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. A Refusal ends it with its sentence and status 1."""
        try:
            return super().invoke(ctx)
        except Refusal as refusal:
            raise click.ClickException(refusal.sentence) from None


@with_appcontext
def check_schema() -> None:
    """End with a sentence where the database is not at this code's schema version."""
    require_current(services().engine)
