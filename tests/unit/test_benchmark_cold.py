"""Whose a sampled call stack is: what the benchmark of the first run adds up."""

from pathlib import Path

import pytest

from tests.benchmarks.cold import BENCHMARK, LIBRARIES, category_of, read_sums

SITE = "/env/lib/python3.11/site-packages"
CLI = ("/app/dagster_project/run.py", "execute")
STEP = (f"{SITE}/dagster/_core/execution/api.py", "iterate")
CLEAN = ("/app/sales_pipeline/clean/prepare.py", "prepare")
LAKE = ("/app/sales_pipeline/lake/layout.py", "step")
NUMPY = (f"{SITE}/numpy/linalg.py", "solve")
IMPORT = ("<frozen importlib._bootstrap>", "_find_and_load")


@pytest.mark.parametrize(
    ("stack", "expected"),
    [
        ((CLI, STEP, CLEAN, NUMPY), ("ours", "clean")),
        ((CLI, STEP, LAKE, CLEAN), ("ours", "clean")),
        ((CLI, STEP, LAKE), ("ours", "lake")),
        ((CLI, STEP), ("Dagster", "calls")),
        ((CLI, NUMPY), ("ours", "dagster_project")),
        ((CLI, STEP, (f"{SITE}/sqlalchemy/engine.py", "execute")), ("Dagster", "calls")),
        ((CLI, STEP, CLEAN, IMPORT, (f"{SITE}/pandas/__init__.py", "<module>")), ("ours", LIBRARIES)),
        ((CLI, IMPORT, (f"{SITE}/mlflow/__init__.py", "<module>"), IMPORT, NUMPY), ("MLflow", "imports")),
        ((CLI, (f"{SITE}/mlflow/store/db/utils.py", "up"), (f"{SITE}/alembic/op.py", "run")), ("MLflow", "database set-up")),
        ((("<frozen runpy>", "run"),), ("ours", "the rest")),
        ((BENCHMARK,), BENCHMARK),
    ],
)  # fmt: skip
def test_the_innermost_frame_that_is_ours_or_a_frameworks_decides(
    stack: tuple[tuple[str, str], ...], expected: tuple[str, str]
) -> None:
    assert category_of(stack) == expected


def test_sums_are_kept_per_category(tmp_path: Path) -> None:
    path = tmp_path / "stacks.jsonl"
    path.write_text(
        '[[["/app/sales_pipeline/clean/a.py", "f"]], [1.0, 0.5, 0.25]]\n[[["/app/sales_pipeline/clean/b.py", "g"]], [2.0, 1.0, 0.5]]\n',
        encoding="utf-8",
    )
    assert read_sums(path) == {("ours", "clean"): (3.0, 1.5, 0.75)}
