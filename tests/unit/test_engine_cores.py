"""Linear algebra takes one core, whatever the machine has."""

from __future__ import annotations

from typing import Any

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from sales_pipeline.engines.machine import one_core
from sales_pipeline.follow_up.effects import learn_effects
from sales_pipeline.models.train import train_matrix


def threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_inside_the_block_blas_has_one_thread_and_afterwards_what_it_had() -> None:
    import scipy.linalg  # noqa: F401

    with threadpool_limits(limits=2, user_api="blas"):
        with one_core():
            assert threads() == {1}
        assert threads() == {2}


def test_it_is_put_back_where_the_block_raises() -> None:
    with threadpool_limits(limits=2, user_api="blas"):
        with pytest.raises(ZeroDivisionError), one_core():
            raise ZeroDivisionError
        assert threads() == {2}


@pytest.mark.parametrize("entry", [train_matrix, learn_effects])
def test_what_is_fitted_is_fitted_on_one_core(entry: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[int]] = []

    class Spy:
        def __getattr__(self, name: str) -> Any:
            seen.append(threads())
            raise LookupError(name)

    with threadpool_limits(limits=2, user_api="blas"), pytest.raises(LookupError):
        entry(Spy(), 0.0, Spy(), **({"has_history": True} if entry is train_matrix else {}))
    assert seen[0] == {1}
