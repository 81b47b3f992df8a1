"""Why `make run` can't go on, in one sentence for the person at the terminal."""


class RunError(Exception):
    """One sentence, then whatever the failed part itself had to say."""

    def __init__(self, sentence: str, detail: str = "") -> None:
        super().__init__(f"{sentence}\n{detail}".rstrip())
