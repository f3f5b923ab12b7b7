"""Features of the activities done with an opportunity.

Belongs here: declarations. Does not belong here: what is still planned (`catalogue_opportunity`).
"""

from __future__ import annotations

from sales_pipeline.features.feature import Clock, Feature, Side


def _activity(
    name: str,
    unit: str,
    meaning: str,
    up: str,
    down: str,
    missing: str = "no activity recorded",
    *,
    clock: Clock = "",
    down_if: Side = "",
) -> Feature:
    return Feature(
        name, "engagement", meaning, up, down, missing, unit=unit, needs=("activities",), clock=clock, down_if=down_if
    )


def _since(name: str, meaning: str, up: str, down: str, missing: str = "no activity recorded") -> Feature:
    """Days since the last activity of some kind."""
    return _activity(name, "days", meaning, up, down, missing, clock="grows", down_if="high")


def _counted(kind: str, noun: str, days: int | None) -> Feature:
    """A count of activities of one kind or direction in a window before the as-of; over everything without one."""
    suffix, window = (f"_{days}d", f"in the last {days} days") if days else ("", "so far")
    meaning = f"{noun} {window}"
    return _activity(
        f"{kind}_count{suffix}",
        "activities",
        meaning,
        f"{meaning}: {{value}}",
        f"only {{value}} {meaning}",
        clock="window" if days else "",
        down_if="low",
    )


ENGAGEMENT: tuple[Feature, ...] = (
    *(_counted("activity", "activities", days) for days in (7, 30, 90, None)),
    _activity(
        "activity_trend_30d",
        "activities",
        "activities in the last 30 days less those in the 30 days before",
        "activity against the month before: {value}",
        "activity against the month before: {value}",
        clock="window",
    ),
    *(_counted("call", "calls", days) for days in (30, 90)),
    *(_counted("email", "e-mails", days) for days in (30, 90)),
    *(_counted("meeting", "meetings", days) for days in (30, 90, None)),
    *(_counted("inbound", "messages from the customer", days) for days in (7, 30, 90, None)),
    *(_counted("outbound", "messages to the customer", days) for days in (30, 90)),
    _activity(
        "inbound_response_ratio",
        "ratio",
        "messages from the customer over messages to the customer, last 90 days",
        "customer messages for each of ours: {value}",
        "only {value} customer messages for each of ours",
        "nothing sent to the customer in 90 days",
        clock="window",
        down_if="low",
    ),
    _activity(
        "contact_count",
        "contacts",
        "different contacts it was talked about with",
        "contacts involved: {value}",
        "only {value} contacts involved",
        down_if="low",
    ),
    _since(
        "days_since_last_activity",
        "days since the last activity",
        "last activity {value} days ago",
        "no activity for {value} days",
    ),
    _since(
        "days_since_last_inbound",
        "days since the customer was last in touch",
        "customer in touch {value} days ago",
        "no reply from the customer for {value} days",
        "no message from the customer so far",
    ),
    _since(
        "days_since_last_outbound",
        "days since we were last in touch",
        "we were in touch {value} days ago",
        "not contacted for {value} days",
        "not contacted so far",
    ),
    _since(
        "days_since_last_meeting",
        "days since the last meeting",
        "met {value} days ago",
        "no meeting for {value} days",
        "no meeting so far",
    ),
)
"""What was said with the customer, and when."""
