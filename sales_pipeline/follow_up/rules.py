"""Which follow-ups an opportunity calls for, if any: documented rules, one plain sentence each, a proposal per possible action.

| order | rule              | holds when                                                               | action            |
| ----- | ----------------- | ------------------------------------------------------------------------ | ----------------- |
| 1     | unanswered        | the customer spoke last, `reply_after_days` to `stale_days` ago          | call              |
| 2     | stale             | no contact for `stale_days` and win probability below `lost_probability` | close_as_lost     |
| 3     | close_date_passed | the CRM's close date lies before as_of                                   | update_close_date |
| 4     | decision_due      | a late stage, or a likely win whose close date is near                   | ask_decision      |
| 5     | first_contact     | activities are exported and show no contact                              | call or email     |
| 6     | gone_quiet        | no contact for `quiet_days`                                              | re_engage         |
| 7     | no_next_step      | nothing of the above and nothing planned                                 | email             |

Every rule that holds proposes its action; of one action the first rule speaks, and a stale opportunity is only closed. A rule that
would contact somebody is passed over while its channel is refused, the person is in cool-down or a next step is planned; when no
rule proposes anything, that is why the opportunity is left out.

Belongs here: pure functions of one situation. Does not belong here: what an action gains (gain), choosing among the proposals of an
opportunity and weighing opportunities against each other (allocation).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.domain.time import AsOf
from sales_pipeline.follow_up.gain import VALUE_AT_RISK, Effect, Gain, gain_by_rule, gain_of_contact
from sales_pipeline.follow_up.params import FollowUpParams
from sales_pipeline.follow_up.situation import Situation

CRM_ACTIONS = ("update_close_date", "close_as_lost")
"""Actions that touch the record and nobody's time but the owner's."""


@dataclass(frozen=True)
class Proposal:
    """One possible action on one opportunity.

    `expected_gain` is what doing it now is expected to bring over not doing it, in the record's currency, None where no amount is known;
    `gain_basis` says what that rests on (one of GAIN_BASES). `risk_share` is the same without the amount: the part of a win's
    probability at stake, for rows whose gain cannot be compared.
    """

    situation: Situation
    rule: str
    action: str
    channel: str
    priority: str
    minutes: int
    risk_share: float
    expected_gain: Decimal | None
    reason: str
    evidence: str
    gain_basis: str = VALUE_AT_RISK

    @property
    def contacts_someone(self) -> bool:
        """Whether the action is a contact with the customer."""
        return self.action not in CRM_ACTIONS


@dataclass(frozen=True)
class Omission:
    """An opportunity that is not in the queue, and why (one of LEFT_OUT_REASONS)."""

    situation: Situation
    reason: str
    detail: str


@dataclass(frozen=True)
class _Rule:
    name: str
    action: str
    channel: str
    priority: str
    sentence: Callable[[Situation, AsOf, FollowUpParams], str | None]
    """The reason where the rule holds, None where it does not."""


def judge(
    situation: Situation, as_of: AsOf, params: FollowUpParams, effect: Effect | None = None
) -> list[Proposal] | Omission:
    """The follow-ups this opportunity calls for by itself, one per action, in the order of the rules, or why it calls for none.

    With an estimated `effect` contacts gain by it, and the first contact a rule calls for may be made in other ways too (call, e-mail,
    meeting); without, every rule's own action gains by the stated shares.
    """
    if situation.owner_id is None:
        return Omission(situation, "no_owner", "No owner is recorded")
    if not situation.is_owner_active:
        return Omission(situation, "inactive_owner", f"Owner {situation.owner_id} is not active: reassign first")
    if situation.win_probability is None:
        return Omission(situation, "abstained", situation.abstain_reason or "No win probability is given")
    found: dict[str, Proposal] = {}
    blocked: Omission | None = None
    answer, other = _what_stops(situation, as_of, params)
    for rule in _RULES:
        stop = None if rule.channel == "crm" else answer if rule is _UNANSWERED else other
        # What stops a contact stops every other one too, and the last rule holds always: only an answer must be asked for.
        if stop is not None and (blocked is not None or rule is not _UNANSWERED):
            blocked = blocked or stop
            continue
        sentence = rule.sentence(situation, as_of, params)
        if sentence is None:
            continue
        for outcome in [stop] if stop is not None else _propose(rule, sentence, situation, params, effect):
            if isinstance(outcome, Omission):
                blocked = blocked or outcome
            elif outcome.action not in found:
                found[outcome.action] = outcome
        if rule.name == "stale" and found:
            break
    return list(found.values()) or blocked or Omission(situation, "no_gain", "No rule finds anything to do")


def is_held_out(situation: Situation, params: FollowUpParams) -> bool:
    """Whether the seeded draw keeps this opportunity out of the queue; the same every day."""
    drawn = int(digest_of("hold_out", params.hold_out_seed, situation.source_system, situation.opportunity_id), 16)
    return drawn / 16**16 < params.hold_out_share


def _what_stops(situation: Situation, as_of: AsOf, params: FollowUpParams) -> tuple[Omission | None, Omission | None]:
    """What stops an answer to the customer, and what any other contact; None where nothing does."""
    if _open_channel("email", situation, params) is None:
        refused = Omission(situation, "do_not_contact", _refusal(situation))
        return refused, refused
    planned = None
    if situation.next_step_id is not None:
        planned = Omission(situation, "already_planned", _planned(situation))
    if (waiting := _cool_down(situation, as_of, params)) is not None:
        return planned, Omission(situation, "cool_down", waiting)
    return planned, planned


def _propose(
    rule: _Rule, sentence: str, situation: Situation, params: FollowUpParams, effect: Effect | None
) -> list[Proposal | Omission]:
    """The rule's own action, and where an effect is estimated the other ways to make the contact, which nothing stops; or why it gains nothing."""
    action, channel = rule.action, rule.channel
    if rule.name == "first_contact" and (situation.win_probability or 0.0) < params.phone_probability:
        action, channel = "email", "email"
    if channel != "crm" and (open_channel := _open_channel(channel, situation, params)) != channel:
        action = {"call": "email", "email": "call"}.get(action, action)
        channel = open_channel or channel
    if channel == "crm" or effect is None:
        gain = gain_by_rule(situation, getattr(params.risk_shares, rule.name))
        return [_proposal(rule, sentence, situation, params, action, channel, gain)]
    ways = {action: channel} | {
        other: wanted
        for other, wanted in _WAYS.items()
        if other not in (action, rule.action) and _open_channel(wanted, situation, params) == wanted
    }
    return [
        _proposal(rule, sentence, situation, params, way, through, gain_of_contact(situation, way, effect, params))
        for way, through in ways.items()
    ]


_WAYS = {"call": "phone", "email": "email", "meeting": "phone"}
"""Ways to make a contact, and the channel each needs: a meeting is arranged by phone."""


def _proposal(
    rule: _Rule,
    sentence: str,
    situation: Situation,
    params: FollowUpParams,
    action: str,
    channel: str,
    gain: Gain,
) -> Proposal | Omission:
    if gain.basis != VALUE_AT_RISK and gain.share <= 0:
        return Omission(situation, "no_gain", f"No gain from a contact: {gain.text}")
    if gain.amount is not None and gain.amount < Decimal(str(params.min_expected_gain)):
        return Omission(situation, "no_gain", f"Expected gain is {gain.amount} {situation.currency}")
    return Proposal(
        situation=situation,
        rule=rule.name,
        action=action,
        channel=channel,
        priority=rule.priority,
        minutes=getattr(params.minutes, action),
        risk_share=gain.share,
        expected_gain=gain.amount,
        reason=sentence,
        evidence=_evidence(situation, gain),
        gain_basis=gain.basis,
    )


def _open_channel(wanted: str, situation: Situation, params: FollowUpParams) -> str | None:
    """The channel wanted, else the other one, None where both are closed."""
    unsaid = not params.requires_recorded_consent
    allowed = {"email": situation.email_allowed, "phone": situation.call_allowed}
    for channel in (wanted, "phone" if wanted == "email" else "email"):
        consent = allowed[channel]
        if consent or (consent is None and unsaid):
            return channel
    return None


def _refusal(situation: Situation) -> str:
    if situation.email_allowed is False and situation.call_allowed is False:
        return f"Contact {situation.contact_id} accepts neither e-mails nor calls"
    return "No consent to e-mails or calls is recorded"


def _cool_down(situation: Situation, as_of: AsOf, params: FollowUpParams) -> str | None:
    begins = as_of.instant - timedelta(days=params.cool_down_days)
    last, label = situation.last_outbound_at, "Last contact about it"
    if last is None or last <= begins:
        last, label = situation.person_last_outbound_at, f"Last contact with contact {situation.contact_id}"
    if last is None or last <= begins:
        return None
    return f"{label} was on {last.date().isoformat()}, within {params.cool_down_days} days"


def _planned(situation: Situation) -> str:
    due = "without a due date" if situation.next_step_due_at is None else f"due {situation.next_step_due_at.date()}"
    return f"Planned activity {situation.next_step_id}, {due}"


def _evidence(situation: Situation, gain: Gain) -> str:
    figures = [f"win probability {situation.win_probability:.2f}"]
    if situation.expected_value is not None:
        fair = (
            ""
            if situation.value_at_stake == situation.expected_value
            else f" ({situation.value_at_stake} whoever owns it)"
        )
        figures.append(f"expected value {situation.expected_value} {situation.currency}{fair}")
        if gain.basis == VALUE_AT_RISK:
            figures[-1] += f", {gain.text}"
    if gain.basis != VALUE_AT_RISK:
        figures.append(gain.text)
    if situation.crm_close_date is not None:
        figures.append(f"close date {situation.crm_close_date.isoformat()}")
    if situation.last_touch_at is not None:
        figures.append(f"last contact {situation.last_touch_at.date().isoformat()}")
    elif situation.has_activities:
        figures.append("no contact recorded")
    else:
        figures.append("activities not exported")
    return "; ".join(figures)


def days_since(instant: datetime | None, as_of: AsOf) -> int | None:
    """Whole days of 24 hours from an instant to as_of."""
    return None if instant is None else (as_of.instant - instant).days


def _days_ahead(situation: Situation, as_of: AsOf, params: FollowUpParams) -> int | None:
    """Calendar days from the last day as_of sees to the close date; negative when it has passed."""
    return None if situation.crm_close_date is None else (situation.crm_close_date - as_of.day(params.time_zone)).days


def _count(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"


def _unanswered(situation: Situation, as_of: AsOf, params: FollowUpParams) -> str | None:
    waiting = days_since(situation.last_inbound_at, as_of)
    if situation.last_inbound_at is None or situation.last_inbound_at != situation.last_touch_at or waiting is None:
        return None
    if waiting < params.reply_after_days or waiting >= params.stale_days:
        return None
    ago = "today" if waiting == 0 else f"{_count(waiting)} ago"
    return f"The customer was last in touch {ago} and nobody has answered."


def _stale(situation: Situation, as_of: AsOf, params: FollowUpParams) -> str | None:
    if situation.win_probability is None or situation.win_probability >= params.lost_probability:
        return None
    chance = f"the chance of winning is {situation.win_probability:.0%}"
    if situation.has_activities:
        silent = days_since(situation.last_touch_at or situation.created_at, as_of)
        if silent is None or silent < params.stale_days:
            return None
        return f"Nobody has been in touch for {_count(silent)} and {chance}."
    ahead = _days_ahead(situation, as_of, params)
    if ahead is None or -ahead < params.stale_days:
        return None
    return f"The close date passed {_count(-ahead)} ago and {chance}."


def _close_date_passed(situation: Situation, as_of: AsOf, params: FollowUpParams) -> str | None:
    ahead = _days_ahead(situation, as_of, params)
    if ahead is None or ahead >= 0:
        return None
    return f"The close date in the CRM passed {_count(-ahead)} ago and the opportunity is still open."


def _decision_due(situation: Situation, as_of: AsOf, params: FollowUpParams) -> str | None:
    ahead = _days_ahead(situation, as_of, params)
    late = params.late_stages
    if late and situation.stage is not None and situation.stage.casefold() in {name.casefold() for name in late}:
        return f"The opportunity is in the late stage {situation.stage}: ask for the decision."
    if ahead is None or not 0 <= ahead <= params.decision_days:
        return None
    if (situation.win_probability or 0.0) < params.decision_probability:
        return None
    when = "today" if ahead == 0 else f"in {_count(ahead)}"
    return f"The close date is {when} and the chance of winning is {situation.win_probability:.0%}."


def _first_contact(situation: Situation, as_of: AsOf, _params: FollowUpParams) -> str | None:
    if not situation.has_activities or situation.last_touch_at is not None:
        return None
    age = days_since(situation.created_at, as_of)
    if age is None:
        return "Nobody has contacted the customer about it yet."
    return f"Nobody has contacted the customer about it since it was created {_count(age)} ago."


def _gone_quiet(situation: Situation, as_of: AsOf, params: FollowUpParams) -> str | None:
    silent = days_since(situation.last_touch_at, as_of)
    if silent is None or silent < params.quiet_days:
        return None
    return f"The last contact was {_count(silent)} ago."


def _no_next_step(_situation: Situation, _as_of: AsOf, _params: FollowUpParams) -> str | None:
    return "No next step is planned."


_UNANSWERED = _Rule("unanswered", "call", "phone", "high", _unanswered)
_RULES = (
    _UNANSWERED,
    _Rule("stale", "close_as_lost", "crm", "low", _stale),
    _Rule("close_date_passed", "update_close_date", "crm", "low", _close_date_passed),
    _Rule("decision_due", "ask_decision", "phone", "high", _decision_due),
    _Rule("first_contact", "call", "phone", "normal", _first_contact),
    _Rule("gone_quiet", "re_engage", "email", "normal", _gone_quiet),
    _Rule("no_next_step", "email", "email", "normal", _no_next_step),
)
