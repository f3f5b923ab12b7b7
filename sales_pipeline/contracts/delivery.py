"""What a delivery keeps of itself: the outcome of every row sent, and the rows it did not send. Not published.

Belongs here: those declarations. Does not belong here: what a target's columns are called (`delivery.targets`).
"""

from __future__ import annotations

from sales_pipeline.contracts.model import Column, Table

OUTCOMES = ("succeeded", "failed", "unprocessed", "unknown")
CHANGES = ("new", "changed", "returned", "cleared", "withdrawn", "unchanged")
"""`returned`: marked as withdrawn before, and in the table again. `cleared`: no score is given any more, and the one delivered is taken away."""

DELIVERY_RESULTS = Table(
    "delivery_results",
    "one row per record sent to a target: what became of it",
    ("part", "key"),
    (
        Column("part", "string", "file of the kit the record stood in", required=True),
        Column("key", "string", "the record's key in the target, as sent", required=True),
        Column(
            "outcome",
            "string",
            "succeeded; failed (the target refused it); unprocessed (the target never came to it); unknown (no answer yet)",
            required=True,
            allowed=OUTCOMES,
        ),
        Column("remote_id", "string", "the record's id in the target", null_means="not told, or the key is the id"),
        Column("code", "string", "the target's own code of the failure", null_means="it did not fail, or gave no code"),
        Column(
            "message", "string", "the target's own words for the failure", null_means="it did not fail, or said nothing"
        ),
    ),
)

NOT_DELIVERED = Table(
    "not_delivered",
    "one row per row of a published table that a kit leaves out, and why",
    ("object_name", "key", "code"),
    (
        Column("object_name", "string", "object of the target's mapping", required=True),
        Column("table", "string", "published table the row stands in", required=True),
        Column("key", "string", "the row's key in the published table", required=True),
        Column(
            "code",
            "string",
            "abstained, no_key, duplicate_key, bad_key, blank, formula, too_long, sent_before, cannot_clear, unknown_owner, deleted_there",
            required=True,
        ),
        Column("message", "string", "why, in words, and what to do", required=True),
    ),
)
