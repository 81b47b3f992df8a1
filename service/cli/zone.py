"""A time zone as an option."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import click


class Zone(click.ParamType[ZoneInfo]):
    """The name of a time zone."""

    name = "zone"

    def convert(self, value: str | ZoneInfo, param: click.Parameter | None, ctx: click.Context | None) -> ZoneInfo:
        """Look it up."""
        try:
            return value if isinstance(value, ZoneInfo) else ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            self.fail(f"'{value}' is not a time zone name, such as Asia/Ho_Chi_Minh", param, ctx)
