"""What the machine lets this process have, where the settings say nothing.

Belongs here: memory and nothing else. Does not belong here: how engines use it. No result depends on it: what does not fit is spilled.
"""

from __future__ import annotations

from pathlib import Path

SHARE = 4
"""The embedded engine takes one part in so many: Python's own batches, models and other processes need the rest."""
LEAST = 1 << 30

_GROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where a container's limit stands (version 2 and 1 of Linux's control groups)."""


def memory_limit() -> str:
    """The embedded engine's limit as DuckDB writes sizes: a quarter of the machine's memory or of the container's limit, at least 1 GiB."""
    import psutil

    return limit_of(int(psutil.virtual_memory().total), _GROUPS)


def limit_of(physical: int, groups: tuple[Path, ...]) -> str:
    """The limit for `physical` bytes of memory and the files that may state less; a file that is absent or says `max` states nothing."""
    stated = [int(text) for path in groups if path.is_file() and (text := path.read_text().strip()).isdigit()]
    return f"{max(min([physical, *stated]) // SHARE, LEAST) >> 20}MiB"
