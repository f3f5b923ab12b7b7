"""Parameters of the follow-up queue. Light: no heavy import, so that settings and `--help` stay quick."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ActionMinutes(_Frozen):
    """Selling time each action takes, in minutes, preparation and note included."""

    call: int = Field(default=15, ge=1)
    email: int = Field(default=10, ge=1)
    meeting: int = Field(default=45, ge=1)
    re_engage: int = Field(default=15, ge=1)
    ask_decision: int = Field(default=20, ge=1)
    update_close_date: int = Field(default=3, ge=1)
    close_as_lost: int = Field(default=3, ge=1)


class RiskShares(_Frozen):
    """Share of an opportunity's expected value taken to be at risk while the follow-up is not done, by rule (0–1).

    These are stated judgements, not estimates: their order matters (an unanswered customer before a quiet one, contact
    before housekeeping), their size does not claim an effect. `gain_basis` says so on every row.
    """

    unanswered: float = Field(default=0.30, ge=0.0, le=1.0)
    decision_due: float = Field(default=0.20, ge=0.0, le=1.0)
    first_contact: float = Field(default=0.15, ge=0.0, le=1.0)
    gone_quiet: float = Field(default=0.10, ge=0.0, le=1.0)
    no_next_step: float = Field(default=0.03, ge=0.0, le=1.0)
    close_date_passed: float = Field(default=0.02, ge=0.0, le=1.0)
    stale: float = Field(default=0.01, ge=0.0, le=1.0)


class FollowUpParams(_Frozen):
    """How the queue is filled.

    Parameters
    ----------
    capacity_minutes_per_day
        Selling time of one owner on one working day, in minutes.
    max_rows_per_owner
        Most rows an owner gets, however short they are.
    cool_down_days
        Nobody is contacted within so many days (of 24 hours) of our last contact; answering a customer who wrote or
        called since then is not held back.
    hold_out_share, hold_out_seed
        Share of opportunities (0–1) kept out of the queue at random, and the seed of the draw. An opportunity's draw depends on
        its id and the seed alone, so it stays the same from day to day.
    reply_after_days
        A customer's last word is unanswered once it is so many days old.
    decision_days
        A decision is near when the CRM's close date is at most so many days ahead and `decision_probability` is reached.
    late_stages
        Stages (compared without regard to case) in which the decision is near whatever the close date says.
    quiet_days
        No contact for so many days makes an opportunity quiet.
    stale_days, lost_probability
        No contact for `stale_days` and a win probability below `lost_probability`: propose to close it as lost.
    phone_probability
        First contacts at or above this win probability go by phone, below by e-mail.
    planned_overdue_days, planned_horizon_days
        A planned activity counts as the next step when it is due from so many days before as_of to so many days after.
    requires_recorded_consent
        True: a channel is used only where consent is recorded. False: unless its refusal is recorded.
    min_expected_gain
        Rows whose expected gain is below (currency units) are left out as `no_gain`.
    country, time_zone
        ISO 3166 code whose public holidays are no working days (None: Monday to Friday), and the zone days end in.
    expires_after_working_days
        A follow-up first proposed on a day expires at the end of so many working days, and gets a new id after.
    """

    capacity_minutes_per_day: int = Field(default=240, ge=0)
    max_rows_per_owner: int = Field(default=20, ge=0)
    minutes: ActionMinutes = ActionMinutes()
    risk_shares: RiskShares = RiskShares()
    cool_down_days: int = Field(default=5, ge=0)
    hold_out_share: float = Field(default=0.05, ge=0.0, lt=1.0)
    hold_out_seed: int = Field(default=20260101, ge=0)
    reply_after_days: int = Field(default=1, ge=0)
    decision_days: int = Field(default=14, ge=0)
    decision_probability: float = Field(default=0.4, ge=0.0, le=1.0)
    late_stages: tuple[str, ...] = ()
    quiet_days: int = Field(default=21, ge=1)
    stale_days: int = Field(default=90, ge=1)
    lost_probability: float = Field(default=0.1, ge=0.0, le=1.0)
    phone_probability: float = Field(default=0.4, ge=0.0, le=1.0)
    planned_overdue_days: int = Field(default=3, ge=0)
    planned_horizon_days: int = Field(default=30, ge=0)
    requires_recorded_consent: bool = False
    min_expected_gain: float = Field(default=0.01, ge=0.0)
    country: str | None = None
    time_zone: str = "UTC"
    expires_after_working_days: int = Field(default=5, ge=1, le=60)
