"""Where change history exists, the ledger finds every planted leak, and leaves the look-alikes alone. Its recall elsewhere is printed by
`python -m tests.benchmarks.leaks`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.leaks import ALWAYS_LEAKING, Judged, all_planted, judge_world

LOOK_ALIKES = ("Need_Size__c", "Site_Band__c", "Campaign_Wave__c")


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    return judge_world(tmp_path_factory.mktemp("tracked"), all_planted(1200, 7, tracks=True))


def hold_all_found(judged: Judged) -> None:
    assert judged.found.missed == ()
    assert len(judged.found.caught) == len(ALWAYS_LEAKING) + 6
    assert judged.found.false_positives == ()


def test_history_shows_every_planted_leak_and_no_look_alike(tracked: Judged) -> None:
    hold_all_found(tracked)


@pytest.mark.parametrize(
    ("column", "figure", "at_least"),
    [
        ("Takeover_Desk__c", "filled_at_close_share", 0.95),
        ("Kickoff_Day__c", "filled_at_close_share", 0.95),
        ("Service_Level__c", "changed_since_landmark_share", 0.2),
        ("Fit_Value__c", "changed_since_landmark_share", 0.9),
        ("Documents_Shared__c", "changed_since_landmark_share", 0.8),
        ("Partner_Code__c", "changed_since_landmark_share", 0.2),
    ],
)
def test_each_leak_is_found_by_the_figure_it_was_planted_for(
    tracked: Judged, column: str, figure: str, at_least: float
) -> None:
    row = tracked.row(column)
    assert (row["verdict"], row["basis"]) == ("leak", "statistics")
    assert isinstance(row[figure], float)
    assert row[figure] >= at_least
    assert isinstance(row["auc_with"], float)


def test_look_alikes_are_used_and_say_what_is_known_of_them(tracked: Judged) -> None:
    for column in LOOK_ALIKES:
        assert tracked.row(column)["is_used"], column
    early = tracked.row("Site_Band__c")
    assert isinstance(early["first_filled_days_before_close"], float)
    assert early["first_filled_days_before_close"] > 30
    assert "its changes are known" in str(early["reason"])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [11, 23, 31])
def test_history_shows_all_in_other_worlds_too(tmp_path: Path, seed: int) -> None:
    hold_all_found(judge_world(tmp_path, all_planted(2500, seed, tracks=True)))


@pytest.mark.slow
def test_without_history_nothing_but_a_growing_count_and_a_noisy_copy_hides(tmp_path: Path) -> None:
    judged = judge_world(tmp_path, all_planted(4000, 7, tracks=False))
    assert set(judged.found.missed) <= {"Documents_Shared__c", "Fit_Value__c"}
    assert judged.found.false_positives == ()
