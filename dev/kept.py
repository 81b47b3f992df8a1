"""Small secrets that a second run finds again: the secret key, the demo's API key and subscriber."""

import os
from pathlib import Path


class Kept:
    """Named texts in a directory, readable by their owner only."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def read(self, name: str) -> str | None:
        """The text, or None if there is none."""
        try:
            return (self.directory / name).read_text().strip() or None
        except FileNotFoundError:
            return None

    def write(self, name: str, text: str) -> None:
        """Keep the text. Its file is never seen half-written, nor for a moment by others."""
        self.directory.mkdir(parents=True, exist_ok=True)
        unfinished = self.directory / f"{name}.new"
        unfinished.unlink(missing_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{text}\n")
        unfinished.rename(self.directory / name)

    def once(self, name: str, text: str) -> str:
        """What is kept under the name, or else this text from now on."""
        found = self.read(name)
        if found is None:
            self.write(name, text)
        return found or text
