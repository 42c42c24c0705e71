"""Who is told how long work goes."""

from typing import Protocol


class Watch(Protocol):
    """Is told how an evaluation goes."""

    def start(self, label: str, total: int) -> None:
        """Something of ``total`` steps begins."""
        ...

    def advance(self, steps: int = 1) -> None:
        """So many steps of it are done."""
        ...

    def note(self, message: str) -> None:
        """Something that a person should know."""
        ...
