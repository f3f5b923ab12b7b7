"""How much of each thing the report shows; the rest lies in the CSV beside it."""

from __future__ import annotations

MOST_BYTES = 600_000
"""Largest size of the page."""
OWNERS = 12
"""Owners in tables."""
OWNERS_WITH_TASKS = 8
"""Owners whose first follow-ups are shown."""
TASKS = 3
"""Follow-ups shown per owner."""
TEAMS = 20
ACCOUNTS = 20
PERIODS = 6
"""Months drawn; twice as many periods in the table."""
DATES = 26
"""Dates of a forecast's history."""
STAGES = 15
MOVES = 10
"""Score moves shown in each direction."""
FEATURES = 10
LEAKS = 30
RULES_BEST, RULES_WORST = 6, 3
REASONS = 12
FILES = 30
WORRIES = 7
TEXT = 240
"""Longest text from a table, in characters."""
NAME = 60
"""Longest id, stage or team, in characters."""
