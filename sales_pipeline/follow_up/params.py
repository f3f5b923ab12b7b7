"""Parameters of the follow-up queue. Light: no heavy import, so that settings and `--help` stay quick."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


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


def _clock(value: object) -> object:
    """YAML 1.1 reads 17:00 as the number 1020 (base 60): minutes since midnight."""
    return time(value // 60, value % 60) if isinstance(value, int) and 0 <= value < 24 * 60 else value


Clock = Annotated[time, BeforeValidator(_clock)]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class OwnerSetting(_Frozen):
    """What is said about one owner; None where the owners table or the setting for all holds.

    Zero minutes means that nothing is queued for the owner.
    """

    capacity_minutes: int | None = Field(default=None, ge=0)
    country: str | None = None
    time_zone: str | None = None
    work_from: Clock | None = None
    work_to: Clock | None = None
    working_days: tuple[Weekday, ...] | None = Field(default=None, min_length=1)


class CapacityLearning(_Frozen):
    """How the capacity of an owner is learned where nobody says it.

    The `quantile` of the minutes (by `ActionMinutes`) of calls, e-mails and meetings that the owner began, over the days of the last `days` with
    any: a high quantile shows what a full day holds and a robust one is not moved by the single longest (Hyndman and Fan, "Sample
    Quantiles in Statistical Packages", 1996, type 7). Fewer than `least_days` such days teach nothing. Held within `floor` and `ceiling`,
    since activities are logged incompletely.
    """

    days: int = Field(default=90, ge=1)
    least_days: int = Field(default=10, ge=1)
    quantile: float = Field(default=0.8, ge=0.0, le=1.0)
    floor: int = Field(default=60, ge=0)
    ceiling: int = Field(default=360, ge=0)

    @model_validator(mode="after")
    def _is_a_span(self) -> Self:
        if self.floor > self.ceiling:
            raise ValueError("floor is above ceiling")
        return self


class AssignmentParams(_Frozen):
    """How the day is solved. Limits count nodes and variables, never seconds, so that equal days give equal queues.

    `largest` is the number of proposals up to which a group of owners who share accounts is solved exactly; larger groups are rounded from the linear
    relaxation. `relative_gap` and `node_limit` end the search of one group.
    """

    method: Literal["assignment", "greedy"] = "assignment"
    largest: int = Field(default=2000, ge=0)
    relative_gap: float = Field(default=1e-4, ge=0.0, lt=1.0)
    node_limit: int = Field(default=2000, ge=1)


class EffectParams(_Frozen):
    """When the effect of the queue is estimated, and how narrow its interval should become.

    An opportunity has matured `horizon_days` after it was first eligible. Below `least_rows` matured ones on either side nothing is estimated.
    `win_rate_width` is half the width (0–1) of the 90 % interval that `missing_rows` is reckoned for; `won_value_share` the same for won
    value, as a share of the hold-out's mean.
    """

    horizon_days: int = Field(default=90, ge=1)
    least_rows: int = Field(default=30, ge=2)
    win_rate_width: float = Field(default=0.05, gt=0.0, lt=1.0)
    won_value_share: float = Field(default=0.2, gt=0.0)


class RelativeEffects(_Frozen):
    """Effect of each contact relative to that of any contact, where the data do not tell kinds apart.

    Stated judgements: a conversation moves more than a message. `RiskShares` says the same for rows without an estimated effect.
    """

    call: float = Field(default=1.0, ge=0.0)
    email: float = Field(default=0.7, ge=0.0)
    meeting: float = Field(default=1.5, ge=0.0)
    re_engage: float = Field(default=0.7, ge=0.0)
    ask_decision: float = Field(default=1.0, ge=0.0)


class FollowUpParams(_Frozen):
    """How the queue is filled.

    Parameters
    ----------
    capacity_minutes_per_day, default_capacity_minutes, capacity_learning, owners
        Selling time of one owner on one working day, in minutes: what `owners` says of the owner, else the owners table (`capacity_minutes`), else
        `capacity_minutes_per_day`, else learned from past activities, else `default_capacity_minutes`. `owners` is by owner id.
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
    skip_days
        A follow-up skipped in feedback, and any other contact where it was one, is not proposed again for so many days, unless the stage changes.
    exploration_share, exploration_minutes, exploration_seed
        Share (0–1) of each owner's capacity that goes, on average, to follow-ups drawn at random among those that could be queued; the
        length of one such slot in minutes; and the seed of the draws.
    min_capacity_share
        Share (0–1) of each owner's capacity that is his own when owners compete for an account or a contact.
    assignment, effect
        How the day is solved, and how its effect is measured.
    country, time_zone, work_from, work_to, quiet_from, quiet_to
        ISO 3166 code whose public holidays and week-ends are no working days (None: Monday to Friday), and the zone days end in. Follow-ups are
        due at the end of working hours, and never within the quiet hours, which may span midnight. All but the quiet hours can be said by owner.
    expires_after_working_days
        A follow-up first proposed on a day expires at the end of so many working days, and gets a new id after.
    """

    capacity_minutes_per_day: int | None = Field(default=None, ge=0)
    default_capacity_minutes: int = Field(default=240, ge=0)
    capacity_learning: CapacityLearning = CapacityLearning()
    owners: dict[str, OwnerSetting] = Field(default_factory=dict)
    max_rows_per_owner: int = Field(default=20, ge=0)
    minutes: ActionMinutes = ActionMinutes()
    risk_shares: RiskShares = RiskShares()
    relative_effects: RelativeEffects = RelativeEffects()
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
    skip_days: int = Field(default=14, ge=0)
    exploration_share: float = Field(default=0.05, ge=0.0, lt=1.0)
    exploration_minutes: int = Field(default=20, ge=1)
    exploration_seed: int = Field(default=20260102, ge=0)
    min_capacity_share: float = Field(default=0.1, ge=0.0, le=1.0)
    assignment: AssignmentParams = AssignmentParams()
    effect: EffectParams = EffectParams()
    country: str | None = None
    time_zone: str = "UTC"
    work_from: Clock = time(9)
    work_to: Clock = time(17)
    quiet_from: Clock = time(20)
    quiet_to: Clock = time(8)
    expires_after_working_days: int = Field(default=5, ge=1, le=60)
