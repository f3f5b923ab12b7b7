"""What of the machine this process takes, where the settings say nothing.

Belongs here: memory, and the cores of linear algebra. Does not belong here: how engines use them. No result depends on the machine: what does not fit
is spilled, and sums are added in one order on any number of cores.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

SHARE = 4
"""The embedded engine takes one part in so many: Python's own batches, models and other processes need the rest."""
LEAST = 1 << 30

_GROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where a container's limit stands (version 2 and 1 of Linux's control groups)."""


def memory_limit() -> str:
    """The embedded engine's limit as DuckDB writes sizes: `memory_bytes`."""
    return f"{memory_bytes() >> 20}MiB"


def memory_bytes() -> int:
    """A quarter of the machine's memory or of the container's limit, at least 1 GiB."""
    import psutil

    return limit_of(int(psutil.virtual_memory().total), _GROUPS)


def limit_of(physical: int, groups: tuple[Path, ...]) -> int:
    """The limit for `physical` bytes of memory and the files that may state less; a file that is absent or says `max` states nothing."""
    stated = [int(text) for path in groups if path.is_file() and (text := path.read_text().strip()).isdigit()]
    return max(min([physical, *stated]) // SHARE, LEAST)


@contextmanager
def one_core() -> Iterator[None]:
    """Linear algebra of the block (or of the function that is decorated with it) is done by one thread of NumPy's and SciPy's BLAS.

    By itself it takes a thread per core, and sums are then added in an order that depends on their number: another machine would train another model. And on
    matrices of some ten thousand rows the others wait for each other longer than they work: a training took three times the CPU.
    """
    with _libraries().limit(limits=1, user_api="blas"):
        yield


@functools.cache
def _libraries() -> ThreadpoolController:
    """NumPy's and SciPy's, found once per process: looking for them takes as long as predicting some thousand rows."""
    import numpy as np  # noqa: F401 - only what is loaded can be held to one thread
    import scipy.linalg  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
