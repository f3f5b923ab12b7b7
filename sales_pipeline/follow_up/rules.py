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

Which rule holds, and what stops contacts, is told for all opportunities at once, by column; words are found for those alone that a rule proposes something for.

Belongs here: pure functions of situations. Does not belong here: what an action gains (gain), choosing among the proposals of an
opportunity and weighing opportunities against each other (allocation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.domain.time import AsOf
from sales_pipeline.follow_up.gain import VALUE_AT_RISK, Effect, Gain, gain_by_rule, gain_of_contact
from sales_pipeline.follow_up.omissions import Omission, omitted, ruled_out, what_stops
from sales_pipeline.follow_up.params import FollowUpParams
from sales_pipeline.follow_up.situation import Bools, Situation, Situations

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
class Judged:
    """What opportunities call for by themselves: of each that calls for something its proposals, one per action, in the order of the rules; the others as `left`
    (OMITTED), with why they call for nothing."""

    proposed: list[list[Proposal]]
    left: pa.Table


@dataclass(frozen=True)
class _Rule:
    name: str
    action: str
    channel: str
    priority: str
    holds: Callable[[Situations, AsOf, FollowUpParams], Bools]
    sentence: Callable[[Situation, AsOf, FollowUpParams], str]
    """The reason, where the rule holds."""


def _no_effect(_: Situation) -> None: ...


def judge(
    situations: Situations,
    as_of: AsOf,
    params: FollowUpParams,
    effect_of: Callable[[Situation], Effect | None] = _no_effect,
) -> Judged:
    """The follow-ups that opportunities call for by themselves, or why they call for none.

    With an estimated effect contacts gain by it, and the first contact a rule calls for may be made in other ways too (call, e-mail,
    meeting); without, every rule's own action gains by the stated shares.
    """
    out = ruled_out(situations)
    stopped = what_stops(situations, as_of, params)
    holds = {rule.name: rule.holds(situations, as_of, params) for rule in _RULES}
    # What stops a contact stops every other one too, and the last rule holds always: only an answer must be asked for.
    is_answer_due = holds[_UNANSWERED.name]
    does_something = ~stopped.contact.is_said | (is_answer_due & ~stopped.answer.is_said)
    for rule in _RULES:
        if rule.channel == "crm":
            does_something |= holds[rule.name]
    does_something &= ~out.is_said
    left = out.over(stopped.answer.where(is_answer_due).over(stopped.contact))
    proposed: list[list[Proposal]] = []
    nothing: list[Omission] = []
    rows = np.flatnonzero(does_something)
    for row, situation in zip(rows.tolist(), situations.where(does_something).rows(), strict=True):
        answer, other = (stop.of(row, situation) for stop in (stopped.answer, stopped.contact))
        held = [rule for rule in _RULES if holds[rule.name][row]]
        outcome = _judged(situation, held, answer, other, as_of, params, effect_of(situation))
        if isinstance(outcome, Omission):
            nothing.append(outcome)
        else:
            proposed.append(outcome)
    return Judged(proposed, pa.concat_tables([left.table(situations, ~does_something), omitted(nothing)]))


def _judged(
    situation: Situation,
    rules: Iterable[_Rule],
    answer: Omission | None,
    other: Omission | None,
    as_of: AsOf,
    params: FollowUpParams,
    effect: Effect | None,
) -> list[Proposal] | Omission:
    """What the rules that hold propose for one opportunity, or why they gain nothing; `answer` stops an answer to the customer, `other` any other contact."""
    found: dict[str, Proposal] = {}
    blocked: Omission | None = None
    for rule in rules:
        stop = None if rule.channel == "crm" else answer if rule is _UNANSWERED else other
        if stop is not None:
            blocked = blocked or stop
            continue
        for outcome in _propose(rule, rule.sentence(situation, as_of, params), situation, params, effect):
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


def days_since(instant: datetime, as_of: AsOf) -> int:
    """Whole days of 24 hours from an instant to as_of."""
    return (as_of.instant - instant).days


def _days_ahead(situation: Situation, as_of: AsOf, params: FollowUpParams) -> int:
    """Calendar days from the last day as_of sees to the close date; negative when it has passed."""
    assert situation.crm_close_date is not None
    return (situation.crm_close_date - as_of.day(params.time_zone)).days


def _count(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"


def _is_unanswered(all_: Situations, as_of: AsOf, params: FollowUpParams) -> Bools:
    waiting = all_.days_since("last_inbound_at", as_of)
    is_last = pc.fill_null(pc.equal(all_.table["last_inbound_at"], all_.table["last_touch_at"]), False)
    return np.asarray(is_last, bool) & (waiting >= params.reply_after_days) & (waiting < params.stale_days)


def _unanswered(situation: Situation, as_of: AsOf, _params: FollowUpParams) -> str:
    assert situation.last_inbound_at is not None
    waiting = days_since(situation.last_inbound_at, as_of)
    ago = "today" if waiting == 0 else f"{_count(waiting)} ago"
    return f"The customer was last in touch {ago} and nobody has answered."


def _is_stale(all_: Situations, as_of: AsOf, params: FollowUpParams) -> Bools:
    touched, created = (all_.days_since(name, as_of) for name in ("last_touch_at", "created_at"))
    silent = np.where(np.isnan(touched), created, touched)
    passed = -all_.days_ahead("crm_close_date", as_of.day(params.time_zone))
    is_old = np.where(all_.flags("has_activities"), silent, passed) >= params.stale_days
    return is_old & (all_.numbers("win_probability") < params.lost_probability)


def _stale(situation: Situation, as_of: AsOf, params: FollowUpParams) -> str:
    chance = f"the chance of winning is {situation.win_probability:.0%}"
    if not situation.has_activities:
        return f"The close date passed {_count(-_days_ahead(situation, as_of, params))} ago and {chance}."
    last = situation.last_touch_at or situation.created_at
    assert last is not None
    return f"Nobody has been in touch for {_count(days_since(last, as_of))} and {chance}."


def _has_close_date_passed(all_: Situations, as_of: AsOf, params: FollowUpParams) -> Bools:
    return all_.days_ahead("crm_close_date", as_of.day(params.time_zone)) < 0


def _close_date_passed(situation: Situation, as_of: AsOf, params: FollowUpParams) -> str:
    ahead = _days_ahead(situation, as_of, params)
    return f"The close date in the CRM passed {_count(-ahead)} ago and the opportunity is still open."


def _is_decision_due(all_: Situations, as_of: AsOf, params: FollowUpParams) -> Bools:
    ahead = all_.days_ahead("crm_close_date", as_of.day(params.time_zone))
    is_near = (ahead >= 0) & (ahead <= params.decision_days)
    late = [stage for stage in all_.table["stage"].unique().to_pylist() if _is_late(stage, params)]
    is_late = pc.is_in(all_.table["stage"], value_set=pa.array(late, pa.string()))
    return np.asarray(is_late, bool) | (is_near & (all_.numbers("win_probability") >= params.decision_probability))


def _is_late(stage: str | None, params: FollowUpParams) -> bool:
    return stage is not None and stage.casefold() in {name.casefold() for name in params.late_stages}


def _decision_due(situation: Situation, as_of: AsOf, params: FollowUpParams) -> str:
    if _is_late(situation.stage, params):
        return f"The opportunity is in the late stage {situation.stage}: ask for the decision."
    ahead = _days_ahead(situation, as_of, params)
    when = "today" if ahead == 0 else f"in {_count(ahead)}"
    return f"The close date is {when} and the chance of winning is {situation.win_probability:.0%}."


def _is_first_contact(all_: Situations, _as_of: AsOf, _params: FollowUpParams) -> Bools:
    return all_.flags("has_activities") & ~all_.is_known("last_touch_at")


def _first_contact(situation: Situation, as_of: AsOf, _params: FollowUpParams) -> str:
    if situation.created_at is None:
        return "Nobody has contacted the customer about it yet."
    age = days_since(situation.created_at, as_of)
    return f"Nobody has contacted the customer about it since it was created {_count(age)} ago."


def _has_gone_quiet(all_: Situations, as_of: AsOf, params: FollowUpParams) -> Bools:
    return all_.days_since("last_touch_at", as_of) >= params.quiet_days


def _gone_quiet(situation: Situation, as_of: AsOf, _params: FollowUpParams) -> str:
    assert situation.last_touch_at is not None
    return f"The last contact was {_count(days_since(situation.last_touch_at, as_of))} ago."


def _always(all_: Situations, _as_of: AsOf, _params: FollowUpParams) -> Bools:
    return np.ones(len(all_), bool)


def _no_next_step(_situation: Situation, _as_of: AsOf, _params: FollowUpParams) -> str:
    return "No next step is planned."


_UNANSWERED = _Rule("unanswered", "call", "phone", "high", _is_unanswered, _unanswered)
_RULES = (
    _UNANSWERED,
    _Rule("stale", "close_as_lost", "crm", "low", _is_stale, _stale),
    _Rule("close_date_passed", "update_close_date", "crm", "low", _has_close_date_passed, _close_date_passed),
    _Rule("decision_due", "ask_decision", "phone", "high", _is_decision_due, _decision_due),
    _Rule("first_contact", "call", "phone", "normal", _is_first_contact, _first_contact),
    _Rule("gone_quiet", "re_engage", "email", "normal", _has_gone_quiet, _gone_quiet),
    _Rule("no_next_step", "email", "email", "normal", _always, _no_next_step),
)
