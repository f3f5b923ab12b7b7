"""The checks of every queue, by name: light, so that definitions load quickly. The checks themselves are in `checks`."""

from __future__ import annotations

CAPACITY = "capacity_never_exceeded"
DUPLICATES = "no_duplicate_rows"
REASONS = "every_row_has_a_reason"
COMPLETE = "every_open_opportunity_once"
DEALT_WITH = "nothing_proposed_again"
QUEUE_CHECKS = {
    CAPACITY: "the minutes of an owner's rows stay within his capacity, and their number within max_rows_per_owner",
    DUPLICATES: "no opportunity, account, contact or queue_id is in the queue twice",
    REASONS: "every row of the queue has a reason and evidence, every row of left_out a reason and a detail",
    COMPLETE: "every open opportunity is in the queue or in left_out, exactly once",
    DEALT_WITH: "no follow-up that was done, skipped or called wrong is in the queue while that holds",
}
NO_HARM = "queue_does_no_harm"
EFFECT_CHECKS = {
    NO_HARM: "held-out opportunities do not do better than those open to the queue: a warning when a 90 % interval lies below zero",
}
