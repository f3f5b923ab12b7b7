"""What a stage of a sales process says about the outcome."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Open, or closed one way or the other. An opportunity still open is censored, never lost."""

    OPEN = "open"
    WON = "won"
    LOST = "lost"
