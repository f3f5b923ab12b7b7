"""The rules of follow-up stated for one opportunity at a time, as their table in `follow_up.rules` reads: what judging by column must come to.

Belongs here: when a rule holds and what stops it, in plain Python. Does not belong here: gains, words of proposals.
"""

from __future__ import annotations

from datetime import timedelta

from sales_pipeline.domain.time import AsOf
from sales_pipeline.follow_up.params import FollowUpParams
from sales_pipeline.follow_up.situation import Situation

CRM_RULES = ("stale", "close_date_passed")


def expected(one: Situation, as_of: AsOf, params: FollowUpParams) -> list[str] | tuple[str, str]:
    """The rules that hold and that nothing stops, in their order, or reason and detail of being left out."""
    if one.owner_id is None:
        return "no_owner", "No owner is recorded"
    if not one.is_owner_active:
        return "inactive_owner", f"Owner {one.owner_id} is not active: reassign first"
    if one.win_probability is None:
        return "abstained", one.abstain_reason or "No win probability is given"
    held = [name for name in RULES if holds(name, one, as_of, params)]
    free = [name for name in held if name in CRM_RULES or stop(name, one, as_of, params) is None]
    if free:
        return free
    first = stop(held[0], one, as_of, params)
    assert first is not None
    return first


RULES = ("unanswered", "stale", "close_date_passed", "decision_due", "first_contact", "gone_quiet", "no_next_step")


def holds(name: str, one: Situation, as_of: AsOf, params: FollowUpParams) -> bool:
    """Whether a rule holds of an opportunity."""
    probability = one.win_probability or 0.0
    ahead = None if one.crm_close_date is None else (one.crm_close_date - as_of.day(params.time_zone)).days
    touched = None if one.last_touch_at is None else as_of.instant - one.last_touch_at
    if name == "unanswered":
        if one.last_inbound_at is None or one.last_inbound_at != one.last_touch_at:
            return False
        waiting = as_of.instant - one.last_inbound_at
        return timedelta(days=params.reply_after_days) <= waiting < timedelta(days=params.stale_days)
    if name == "stale":
        if probability >= params.lost_probability:
            return False
        if not one.has_activities:
            return ahead is not None and -ahead >= params.stale_days
        since = one.last_touch_at or one.created_at
        return since is not None and as_of.instant - since >= timedelta(days=params.stale_days)
    if name == "close_date_passed":
        return ahead is not None and ahead < 0
    if name == "decision_due":
        if one.stage is not None and one.stage.casefold() in [stage.casefold() for stage in params.late_stages]:
            return True
        return ahead is not None and 0 <= ahead <= params.decision_days and probability >= params.decision_probability
    if name == "first_contact":
        return one.has_activities and touched is None
    if name == "gone_quiet":
        return touched is not None and touched >= timedelta(days=params.quiet_days)
    return True


def stop(name: str, one: Situation, as_of: AsOf, params: FollowUpParams) -> tuple[str, str] | None:
    """Reason and detail of what stops the contact a rule asks for, None where nothing does."""
    closed = (False, None) if params.requires_recorded_consent else (False,)
    if one.email_allowed in closed and one.call_allowed in closed:
        if one.email_allowed is False and one.call_allowed is False:
            return "do_not_contact", f"Contact {one.contact_id} accepts neither e-mails nor calls"
        return "do_not_contact", "No consent to e-mails or calls is recorded"
    begins = as_of.instant - timedelta(days=params.cool_down_days)
    for last, label in (
        (one.last_outbound_at, "Last contact about it"),
        (one.person_last_outbound_at, f"Last contact with contact {one.contact_id}"),
    ):
        if name != "unanswered" and last is not None and last > begins:
            return "cool_down", f"{label} was on {last.date().isoformat()}, within {params.cool_down_days} days"
    if one.next_step_id is not None:
        due = "without a due date" if one.next_step_due_at is None else f"due {one.next_step_due_at.date()}"
        return "already_planned", f"Planned activity {one.next_step_id}, {due}"
    return None
