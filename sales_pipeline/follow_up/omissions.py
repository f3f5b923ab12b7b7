"""Why opportunities are left out before any rule proposes something: what stands against every follow-up, and what stops contacts.

All of it is told by column, for every open opportunity at once. Belongs here: those reasons, and how one is said. Does not belong here: rules that look for something
to do (`rules`), reasons that lie with the other opportunities (`allocation`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.domain.time import AsOf
from sales_pipeline.follow_up.params import FollowUpParams
from sales_pipeline.follow_up.situation import Bools, Situation, Situations


@dataclass(frozen=True)
class Omission:
    """An opportunity that is not in the queue, and why (one of LEFT_OUT_REASONS)."""

    situation: Situation
    reason: str
    detail: str


OMITTED = pa.schema(
    [(name, pa.string()) for name in ("source_system", "opportunity_id", "account_id", "owner_id", "reason", "detail")]
)
"""What is said of an opportunity that is not in the queue: the columns of an `Omission`."""
_OPPORTUNITY = OMITTED.names[:4]


def omitted(omissions: Sequence[Omission]) -> pa.Table:
    """Omissions as a table of OMITTED."""
    columns = [[getattr(one.situation, name) for one in omissions] for name in _OPPORTUNITY]
    columns += [[getattr(one, name) for one in omissions] for name in OMITTED.names[4:]]
    return pa.Table.from_arrays([pa.array(column, pa.string()) for column in columns], schema=OMITTED)


@dataclass(frozen=True)
class Left:
    """For every opportunity why it may be left out, by column: reason and detail, NULL where nothing says so."""

    reason: pa.Array
    detail: pa.Array

    @classmethod
    def because(cls, reason: str, is_so: Bools, detail: pa.ChunkedArray | str) -> Left:
        """That reason wherever it is so."""
        texts = detail.combine_chunks() if isinstance(detail, pa.ChunkedArray) else pa.repeat(detail, len(is_so))
        return cls(pa.repeat(reason, len(is_so)), texts).where(is_so)

    @property
    def is_said(self) -> Bools:
        """Where there is a reason."""
        return np.asarray(self.reason.is_valid(), bool)

    def where(self, is_asked: Bools) -> Left:
        """The same, but nothing is said of the others."""
        nothing = pa.scalar(None, pa.string())
        return Left(*(pc.if_else(pa.array(is_asked), column, nothing) for column in (self.reason, self.detail)))

    def over(self, other: Left) -> Left:
        """This, and where it says nothing the other."""
        return Left(pc.coalesce(self.reason, other.reason), pc.coalesce(self.detail, other.detail))

    def of(self, row: int, situation: Situation) -> Omission | None:
        """What is said of one opportunity."""
        reason = self.reason[row].as_py()
        return None if reason is None else Omission(situation, reason, self.detail[row].as_py())

    def table(self, situations: Situations, is_chosen: Bools) -> pa.Table:
        """What is said of those opportunities, as a table of OMITTED."""
        columns = [*(situations.table[name] for name in _OPPORTUNITY), self.reason, self.detail]
        return pa.Table.from_arrays(columns, schema=OMITTED).take(pa.array(np.flatnonzero(is_chosen)))


@dataclass(frozen=True)
class Stops:
    """What stops an answer to the customer, and what any other contact."""

    answer: Left
    contact: Left


def ruled_out(situations: Situations) -> Left:
    """Opportunities that no rule looks at."""
    table = situations.table
    inactive = pc.binary_join_element_wise("Owner ", table["owner_id"], " is not active: reassign first", "")
    unsaid = pc.equal(pc.fill_null(table["abstain_reason"], ""), "")
    abstained = pc.if_else(unsaid, "No win probability is given", table["abstain_reason"])
    no_owner = Left.because("no_owner", ~situations.is_known("owner_id"), "No owner is recorded")
    gone = Left.because("inactive_owner", ~situations.flags("is_owner_active"), inactive)
    return no_owner.over(gone).over(Left.because("abstained", ~situations.is_known("win_probability"), abstained))


def what_stops(situations: Situations, as_of: AsOf, params: FollowUpParams) -> Stops:
    """Refused channels, the cool-down (which an answer does not wait for) and planned next steps, in this order."""
    unsaid = not params.requires_recorded_consent
    email, call = (situations.flags(name, unknown=unsaid) for name in ("email_allowed", "call_allowed"))
    refused = Left.because("do_not_contact", ~email & ~call, _refusals(situations))
    planned = Left.because("already_planned", situations.is_known("next_step_id"), _plans(situations))
    answer = refused.over(planned)
    return Stops(answer, refused.over(_cool_down(situations, as_of, params)).over(planned))


def _refusals(situations: Situations) -> pa.ChunkedArray:
    table = situations.table
    both = pa.array(~situations.flags("email_allowed", unknown=True) & ~situations.flags("call_allowed", unknown=True))
    contact = pc.fill_null(table["contact_id"], "None")
    said = pc.binary_join_element_wise("Contact ", contact, " accepts neither e-mails nor calls", "")
    return pc.if_else(both, said, "No consent to e-mails or calls is recorded")


def _cool_down(situations: Situations, as_of: AsOf, params: FollowUpParams) -> Left:
    """Our last contact about the opportunity, else that with the person, where it lies within the cool-down."""
    table = situations.table
    begins = as_of.instant - timedelta(days=params.cool_down_days)
    about_it, with_person = (
        situations.is_after(name, begins) for name in ("last_outbound_at", "person_last_outbound_at")
    )
    contact = pc.fill_null(table["contact_id"], "None")
    person = pc.binary_join_element_wise("Last contact with contact ", contact, "")
    label = pc.if_else(pa.array(about_it), "Last contact about it", person)
    last = pc.if_else(pa.array(about_it), table["last_outbound_at"], table["person_last_outbound_at"])
    within = f", within {params.cool_down_days} days"
    detail = pc.binary_join_element_wise(label, " was on ", _days(last), within, "")
    return Left.because("cool_down", about_it | with_person, detail)


def _plans(situations: Situations) -> pa.ChunkedArray:
    table = situations.table
    due = pc.binary_join_element_wise("due ", _days(table["next_step_due_at"]), "")
    due = pc.fill_null(due, "without a due date")
    return pc.binary_join_element_wise("Planned activity ", table["next_step_id"], ", ", due, "")


def _days(instants: pa.ChunkedArray) -> pa.ChunkedArray:
    """The days (UTC) of instants, as text."""
    return instants.cast(pa.date32()).cast(pa.string())
