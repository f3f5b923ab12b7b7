"""The checks of the team table, the stage times and the account table: a failing one stops the run before anything is published."""

from __future__ import annotations

import pytest

from dagster_project.assets.people import PEOPLE_CHECKS, PEOPLE_INPUTS
from dagster_project.run import execute
from sales_pipeline.errors import SalesPipelineError
from sales_pipeline.sales_management.seen import CANONICAL_INPUTS
from tests.dagster.conftest import CHAMPION, DAY, Library


def test_sound_tables_are_published(library: Library) -> None:
    library.champion = CHAMPION
    assert execute(library.settings, DAY).is_new


@pytest.mark.parametrize("name", [checks[0] for checks in map(tuple, PEOPLE_CHECKS.values())])
def test_a_failing_check_blocks_the_publication(library: Library, name: str) -> None:
    library.champion = CHAMPION
    library.failing_people = {name}
    with pytest.raises(SalesPipelineError, match=name):
        execute(library.settings, DAY)
    assert library.published == []


def test_declared_inputs_are_those_that_are_read() -> None:
    assert set(PEOPLE_INPUTS) == set(CANONICAL_INPUTS)
