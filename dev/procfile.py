"""The Procfile, read as a platform reads it: what runs here is what runs there."""

import re
from pathlib import Path

from dev.errors import RunError

LINE = re.compile(r"(?P<name>[A-Za-z0-9_-]+):\s*(?P<command>\S.*)")

RELEASE = "release"
"""Runs to its end before the others start."""


def read(path: Path) -> dict[str, str]:
    """Process names and their command lines, in the file's order."""
    return parse(path.read_text())


def parse(text: str) -> dict[str, str]:
    """As `read`, from the text itself; comments and empty lines are passed over."""
    lines = [line.strip() for line in text.splitlines()]
    return dict(_process(line) for line in lines if line and not line.startswith("#"))


def _process(line: str) -> tuple[str, str]:
    match = LINE.fullmatch(line)
    if match is None:
        raise RunError(f"The Procfile has a line that is no `name: command`: {line}")
    return match["name"], match["command"]
