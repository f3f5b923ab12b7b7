from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from sales_pipeline.domain.time import AsOf
from sales_pipeline.follow_up.gain import (
    ESTIMATED,
    GAIN_BASES,
    VALUE_AT_RISK,
    Effect,
    chance_change,
    gain_by_rule,
    gain_of_contact,
    typical_effect,
)
from sales_pipeline.follow_up.params import FollowUpParams
from sales_pipeline.follow_up.rules import CRM_ACTIONS, Proposal, judge
from sales_pipeline.follow_up.situation import Situation, Situations

AS_OF = AsOf(datetime(2026, 7, 1, tzinfo=UTC))
PARAMS = FollowUpParams(hold_out_share=0.0)
HELPS = Effect(0.2, 0.1, 0.3, {})
PUTS_OFF = Effect(-0.2, -0.3, -0.1, {})
SITUATION = Situation(
    source_system="crm",
    opportunity_id="o",
    account_id="a",
    owner_id="s",
    is_owner_active=True,
    stage="Qualify",
    currency="EUR",
    crm_close_date=None,
    created_at=AS_OF.instant - timedelta(days=60),
    win_probability=0.5,
    expected_value=Decimal("500.00"),
    abstain_reason=None,
    owner_free_probability=0.5,
    has_activities=True,
    last_touch_at=AS_OF.instant - timedelta(days=30),
    last_outbound_at=AS_OF.instant - timedelta(days=30),
)


def proposals(situation: Situation, effect: Effect | None = None) -> dict[str, Proposal]:
    found = judge(Situations.of([situation]), AS_OF, PARAMS, lambda _: effect)
    assert found.left.num_rows == 0
    return {proposal.action: proposal for proposal in found.proposed[0]}


def test_an_effect_is_worth_its_change_of_the_chance_times_the_amount() -> None:
    gain = gain_of_contact(SITUATION, "call", HELPS, PARAMS)
    # From 0.5, log-odds of 0.2 more are 0.5498; won it is worth 1,000.
    assert (gain.amount, gain.basis) == (Decimal("49.83"), ESTIMATED)
    assert gain.text == (
        "a contact now is estimated to change the chance of winning by +4.98 points (90 %: +2.50 to +7.44), 49.83 EUR (24.98 to 74.44)"
    )


def test_kinds_of_contact_differ_by_what_the_data_say_else_by_stated_shares() -> None:
    by_rule = gain_of_contact(SITUATION, "email", HELPS, PARAMS)
    told = gain_of_contact(SITUATION, "email", replace(HELPS, by_kind={"call": 0.5, "email": 1.5}), PARAMS)
    assert by_rule.share == pytest.approx(chance_change(0.5, 0.14) / 0.5)
    assert told.share == pytest.approx(chance_change(0.5, 0.30) / 0.5)
    assert gain_of_contact(SITUATION, "meeting", replace(HELPS, by_kind={"email": 9.0}), PARAMS).share == told.share


@pytest.mark.parametrize(("p", "log_odds"), [(0.0, 5.0), (1.0, 5.0), (0.5, 0.0), (0.5, 1e9), (0.5, -1e9), (1e-9, 3.0)])
def test_a_changed_chance_stays_a_chance(p: float, log_odds: float) -> None:
    assert 0.0 <= p + chance_change(p, log_odds) <= 1.0


def test_with_an_effect_a_contact_may_be_made_in_every_way_that_is_open() -> None:
    found = proposals(SITUATION, HELPS)
    assert set(found) == {"re_engage", "call", "email", "meeting"}
    assert {proposal.gain_basis for proposal in found.values()} == {ESTIMATED}
    assert {proposal.reason for proposal in found.values()} == {"The last contact was 30 days ago."}
    without_calls = proposals(replace(SITUATION, call_allowed=False), HELPS)
    assert set(without_calls) == {"re_engage", "email"}


def test_without_an_effect_each_rule_gains_by_its_stated_share() -> None:
    found = proposals(SITUATION)
    assert {name: proposal.expected_gain for name, proposal in found.items()} == {
        "re_engage": Decimal("50.00"),
        "email": Decimal("15.00"),
    }
    assert {proposal.gain_basis for proposal in found.values()} == {VALUE_AT_RISK}
    assert "of which 10% at risk" in found["re_engage"].evidence
    assert gain_by_rule(SITUATION, 0.1).text == "of which 10% at risk"


def test_who_is_put_off_by_contacts_is_left_alone_and_it_is_said_why() -> None:
    found = judge(Situations.of([SITUATION]), AS_OF, PARAMS, lambda _: PUTS_OFF)
    assert found.proposed == []
    left = found.left.to_pylist()[0]
    assert (left["opportunity_id"], left["owner_id"], left["reason"]) == ("o", "s", "no_gain")
    assert left["detail"].startswith(
        "No gain from a contact: a contact now is estimated to change the chance of winning by -"
    )
    overdue = replace(SITUATION, crm_close_date=(AS_OF.instant - timedelta(days=3)).date())
    assert set(proposals(overdue, PUTS_OFF)) == {"update_close_date"}


def test_the_record_is_kept_by_rules_whatever_contacts_gain() -> None:
    overdue = replace(SITUATION, crm_close_date=(AS_OF.instant - timedelta(days=3)).date())
    for name, proposal in proposals(overdue, HELPS).items():
        assert proposal.gain_basis == (VALUE_AT_RISK if name in CRM_ACTIONS else ESTIMATED)


def test_unknown_amounts_leave_the_share_to_rank_by() -> None:
    unknown = replace(SITUATION, expected_value=None)
    call = proposals(unknown, HELPS)["call"]
    assert call.expected_gain is None
    assert call.risk_share > 0
    assert "+4.98 points" in call.evidence
    assert "EUR" not in call.evidence


def test_the_typical_effect_is_the_mean_of_those_known() -> None:
    assert typical_effect([]) is None
    mean = typical_effect([HELPS, PUTS_OFF])
    assert mean is not None
    assert (mean.log_odds, mean.low, mean.high) == pytest.approx((0.0, -0.1, 0.1))


def test_the_basis_is_one_of_those_the_contract_knows() -> None:
    from sales_pipeline.contracts.published import FOLLOW_UP_QUEUE

    column = next(column for column in FOLLOW_UP_QUEUE.columns if column.name == "gain_basis")
    assert tuple(column.allowed or ()) == GAIN_BASES
