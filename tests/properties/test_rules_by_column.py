"""Judging all opportunities by column comes to what the rules say of each by itself, whatever is known and whatever is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sales_pipeline.domain.time import AsOf
from sales_pipeline.follow_up.params import FollowUpParams
from sales_pipeline.follow_up.rules import judge
from sales_pipeline.follow_up.situation import Situation, Situations
from tests.support.reference_rules import expected

AS_OF = AsOf(datetime(2026, 6, 30, 22, tzinfo=UTC))
_TICK = timedelta(microseconds=1)
BEFORE = [AS_OF.instant - timedelta(days=days) + shift for days in (0, 1, 5, 21, 90) for shift in (-_TICK, 0 * _TICK, _TICK)]  # fmt: skip
INSTANTS = st.sampled_from([None, *(instant for instant in BEFORE if instant < AS_OF.instant)])
DAYS = st.sampled_from([None, *(AS_OF.day("Europe/Berlin") + timedelta(days=n) for n in (-90, -89, -1, 0, 14, 15))])
SAID = st.sampled_from([None, True, False])


def some(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([None, *values])


@st.composite
def situations(draw: st.DrawFn) -> list[Situation]:
    return [
        Situation(
            source_system="crm",
            opportunity_id=f"o{number}",
            account_id=draw(some("a")),
            owner_id=draw(st.sampled_from(["s", "s", "s", None])),
            is_owner_active=draw(st.sampled_from([True, True, False])),
            stage=draw(some("Qualify", "NEGOTIATE")),
            currency="EUR",
            crm_close_date=draw(DAYS),
            created_at=draw(INSTANTS),
            win_probability=draw(some(0.0, 0.09, 0.1, 0.4, 1.0)),
            expected_value=Decimal("100000.00"),
            abstain_reason=draw(some("", "new pipeline")),
            owner_free_probability=0.3,
            contact_id=draw(some("p")),
            email_allowed=draw(SAID),
            call_allowed=draw(SAID),
            has_activities=draw(st.booleans()),
            last_touch_at=(touched := draw(INSTANTS)),
            last_inbound_at=draw(st.sampled_from([None, touched])),
            last_outbound_at=draw(INSTANTS),
            person_last_outbound_at=draw(INSTANTS),
            next_step_id=(step := draw(some("t"))),
            next_step_due_at=draw(INSTANTS) if step else None,
        )
        for number in range(draw(st.integers(0, 6)))
    ]


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(
    found=situations(),
    requires_consent=st.booleans(),
    late_stages=st.sampled_from([(), ("negotiate",)]),
    decision_probability=st.sampled_from([0.0, 0.4]),
)
def test_by_column_is_as_one_by_one(
    found: list[Situation], requires_consent: bool, late_stages: tuple[str, ...], decision_probability: float
) -> None:
    params = FollowUpParams(
        requires_recorded_consent=requires_consent,
        late_stages=late_stages,
        decision_probability=decision_probability,
        time_zone="Europe/Berlin",
    )
    judged = judge(Situations.of(found), AS_OF, params)
    left = {row["opportunity_id"]: (row["reason"], row["detail"]) for row in judged.left.to_pylist()}
    proposed = {proposals[0].situation.opportunity_id: proposals for proposals in judged.proposed}
    assert len(left) + len(proposed) == len(found)
    for one in found:
        told = expected(one, AS_OF, params)
        if isinstance(told, tuple):
            assert left[one.opportunity_id] == told
            continue
        proposals = proposed[one.opportunity_id]
        assert all(proposal.situation == one for proposal in proposals)
        # Of one action the first rule speaks, and a stale opportunity is only closed.
        told = told[: told.index("stale") + 1] if "stale" in told else told
        rules = [proposal.rule for proposal in proposals]
        assert rules[0] == told[0]
        assert [name for name in told if name in rules] == rules
        actions = [proposal.action for proposal in proposals]
        assert len(set(actions)) == len(actions)
