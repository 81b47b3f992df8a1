"""Commands that run to their end before the service is up: migrations, `flask …`."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from dev.errors import RunError
from dev.guarded import Guarded

SECONDS = 300.0
"""A migration of a large database takes its time; a hanging one must end."""

TAIL = 15


class Commands:
    """Runs commands in the service's environment, under guard like everything else."""

    def __init__(self, environ: Mapping[str, str], directory: Path) -> None:
        self.environ, self.directory = environ, directory

    def shell(self, line: str) -> str:
        """Run a Procfile line; returns what it wrote to standard output."""
        return self._run(["/bin/sh", "-c", line], line)

    def flask(self, *words: str) -> str:
        """Run a `flask …` command; returns what it wrote to standard output."""
        return self._run(["flask", *words], f"flask {' '.join(words)}")

    def secret(self, *words: str) -> str:
        """Run a `flask …` command that prints a secret alone on its last line."""
        lines = self.flask(*words).split("\n")
        found = next((line.strip() for line in reversed(lines) if line.strip()), "")
        if not found or " " in found:
            raise RunError(f"`flask {' '.join(words)}` printed no secret on its last line.")
        return found

    def _run(self, command: Sequence[str], shown: str) -> str:
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            guarded = Guarded(command, output=output, errors=errors, env=self.environ, cwd=self.directory)
            code = guarded.wait(SECONDS)
            if code:
                raise RunError(f"`{shown}` ended with exit code {code}:", _tail(output, errors))
            return _text(output)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _tail(*files: IO[bytes]) -> str:
    lines = [line for file in files for line in _text(file).splitlines()]
    return "\n".join(lines[-TAIL:])
