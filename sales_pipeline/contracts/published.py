"""The published tables, contract v1: what a CRM administrator imports and a sales team acts on.

Frozen: columns are only ever added at the end. Ids, numbers, dates, codes and text written by the pipeline; never names,
e-mail addresses, phone numbers or notes of people.
"""

from __future__ import annotations

from sales_pipeline.contracts.forecast import FORECAST_TABLES
from sales_pipeline.contracts.management import MANAGEMENT_TABLES
from sales_pipeline.contracts.model import Column, Table
from sales_pipeline.contracts.shared import AS_OF, PROBABILITY, RUN, SOURCE

CONTRACT_VERSION = 1
C = Column


GRADES = ("A", "B", "C", "D")
TRENDS = ("improving", "steady", "declining", "new")
EVIDENCE_LEVELS = ("rules", "rates", "small_model", "full_model")
ACTIONS = ("call", "email", "meeting", "re_engage", "ask_decision", "update_close_date", "close_as_lost")
CHANNELS = ("phone", "email", "meeting", "crm")
LEFT_OUT_REASONS = (
    "capacity",
    "cool_down",
    "hold_out",
    "do_not_contact",
    "already_planned",
    "duplicate_account",
    "no_gain",
    "no_owner",
    "inactive_owner",
    "abstained",
    "dealt_with",
)
CHOSEN_BY = ("gain", "exploration")
CAPACITY_BASES = ("owner_setting", "owners_table", "setting", "learned", "default")
EFFECT_FIGURES = ("win_rate", "won_value", "done_share", "skipped_share", "wrong_share")
EFFECT_METHODS = ("difference", "adjusted", "feedback")
MONITORING_KINDS = ("input_drift", "score_drift", "abstention", "calibration", "coverage")

SCORED_OPPORTUNITIES = Table(
    "scored_opportunities",
    "one row per opportunity open at as_of",
    ("source_system", "opportunity_id"),
    (
        SOURCE,
        C("opportunity_id", "string", "identifier of the opportunity", required=True),
        C("kind", "string", "opportunity or lead", required=True, allowed=("opportunity", "lead")),
        C("pipeline", "string", "sales process", null_means="only one pipeline"),
        C("account_id", "string", "account", null_means="no account"),
        C("owner_id", "string", "owner at as_of", null_means="no owner"),
        AS_OF,
        C("stage", "string", "stage at as_of", null_means="the CRM has no stage for it"),
        C("currency", "string", "ISO 4217 code of all amounts in the row", required=True),
        C("amount", "amount", "the CRM's amount at as_of", unit="currency", null_means="not recorded"),
        C("crm_close_date", "date", "the CRM's close date at as_of", null_means="not recorded"),
        C("crm_probability", "float64", "the CRM's own probability at as_of", null_means="not recorded", **PROBABILITY),
        C(
            "win_probability",
            "float64",
            "probability that it is ever won",
            null_means="abstained, see abstain_reason",
            **PROBABILITY,
        ),
        C("win_probability_low", "float64", "lower end of the 80 % interval", null_means="abstained", **PROBABILITY),
        C("win_probability_high", "float64", "upper end of the 80 % interval", null_means="abstained", **PROBABILITY),
        C(
            "win_probability_30d",
            "float64",
            "probability that it is won within 30 days of as_of",
            null_means="abstained, or no closing times known",
            **PROBABILITY,
        ),
        C(
            "win_probability_90d",
            "float64",
            "probability that it is won within 90 days of as_of",
            null_means="abstained, or no closing times known",
            **PROBABILITY,
        ),
        C(
            "score",
            "int64",
            "round(100 x win_probability) held within 1–99; not a rank",
            unit="1–99",
            null_means="abstained",
            minimum=1,
            maximum=99,
        ),
        C("grade", "string", "band of win_probability, with hysteresis", null_means="abstained", allowed=GRADES),
        C(
            "trend",
            "string",
            "against the last published run, beyond its interval",
            null_means="abstained",
            allowed=TRENDS,
        ),
        C(
            "previous_win_probability",
            "float64",
            "of the published run with the greatest earlier as-of",
            null_means="not scored then",
            **PROBABILITY,
        ),
        C(
            "expected_amount",
            "amount",
            "expected amount if won",
            unit="currency",
            null_means="no amounts of won opportunities known",
            minimum=0,
        ),
        C(
            "expected_amount_low",
            "amount",
            "lower end of the 80 % interval",
            unit="currency",
            null_means="as expected_amount",
            minimum=0,
        ),
        C(
            "expected_amount_high",
            "amount",
            "upper end of the 80 % interval",
            unit="currency",
            null_means="as expected_amount",
            minimum=0,
        ),
        C(
            "expected_value",
            "amount",
            "win_probability x expected_amount",
            unit="currency",
            null_means="one of the two is NULL",
            minimum=0,
        ),
        C(
            "predicted_close_date",
            "date",
            "median day on which it closes, won or lost",
            null_means="abstained, or no closing times known",
        ),
        C("predicted_close_date_low", "date", "10 % quantile of that day", null_means="as predicted_close_date"),
        C("predicted_close_date_high", "date", "90 % quantile of that day", null_means="as predicted_close_date"),
        C(
            "slip_probability",
            "float64",
            "probability of being open past the CRM's close date",
            null_means="no CRM close date, or no closing times known",
            **PROBABILITY,
        ),
        C("reasons_up", "reasons", "up to three reasons that raise the probability, largest first", required=True),
        C("reasons_down", "reasons", "up to three reasons that lower it, largest first", required=True),
        C("evidence_level", "string", "what the score rests on", required=True, allowed=EVIDENCE_LEVELS),
        C("abstain_reason", "string", "why no probability is given", null_means="a probability is given"),
        C("model_name", "string", "registered model", required=True),
        C("model_version", "string", "content digest of the model", required=True),
        RUN,
    ),
)

FOLLOW_UP_QUEUE = Table(
    "follow_up_queue",
    "one row per follow-up worth doing, per owner in rank order",
    ("queue_id",),
    (
        C(
            "queue_id",
            "string",
            "hash of source, opportunity, action and episode: stays the same until done, expired or overtaken",
            required=True,
        ),
        SOURCE,
        AS_OF,
        C("owner_id", "string", "who should do it", required=True),
        C("rank", "int64", "order within the owner's day, 1 first", required=True, minimum=1),
        C("opportunity_id", "string", "opportunity", required=True),
        C("account_id", "string", "account", null_means="no account"),
        C("contact_id", "string", "contact to address", null_means="none known: find one"),
        C("action", "string", "what to do", required=True, allowed=ACTIONS),
        C("channel", "string", "how", required=True, allowed=CHANNELS),
        C("due_at", "timestamp", "do it before", unit="UTC", required=True),
        C("expires_at", "timestamp", "worthless after", unit="UTC", required=True),
        C("priority", "string", "high, normal or low", required=True, allowed=("high", "normal", "low")),
        C(
            "expected_gain",
            "amount",
            "value at stake, by gain_basis",
            unit="currency",
            null_means="no amounts known: ranked by probability alone",
        ),
        C(
            "gain_basis",
            "string",
            "what expected_gain rests on",
            required=True,
            allowed=("value_at_risk_rules", "estimated_effect"),
        ),
        C("estimated_minutes", "int64", "selling time it takes", unit="minutes", required=True, minimum=1),
        C("reason", "string", "why, in one plain sentence", required=True),
        C("evidence", "string", "the figures behind the reason", required=True),
        C(
            "last_touch_at",
            "timestamp",
            "last contact before as_of",
            unit="UTC",
            null_means="never contacted, or activities not exported",
        ),
        C(
            "attempt",
            "int64",
            "1 for the first time this follow-up is proposed in the episode",
            required=True,
            minimum=1,
        ),
        C(
            "propensity",
            "float64",
            "probability with which this row was put in the queue",
            required=True,
            **PROBABILITY,
        ),
        C("policy", "string", "name and version of the policy", required=True),
        RUN,
        C("stage", "string", "stage at as_of", null_means="the CRM has no stage for it"),
        C(
            "episode_id",
            "string",
            "hash of source, opportunity, stage and last contact: what feedback holds for; changes with the next contact or stage",
            required=True,
        ),
        C(
            "chosen_by",
            "string",
            "gain: worth more than what was left out; exploration: drawn at random to learn from",
            required=True,
            allowed=CHOSEN_BY,
        ),
        C(
            "reassigned_from",
            "string",
            "the CRM's owner, who is not active: owner_id stands in",
            null_means="owner_id is the CRM's own owner",
        ),
    ),
)

LEFT_OUT = Table(
    "left_out",
    "one row per open opportunity that is not in the queue",
    ("source_system", "opportunity_id"),
    (
        SOURCE,
        C("opportunity_id", "string", "opportunity", required=True),
        C("account_id", "string", "account", null_means="no account"),
        C("owner_id", "string", "owner", null_means="no owner"),
        AS_OF,
        C("reason", "string", "why it was left out", required=True, allowed=LEFT_OUT_REASONS),
        C("detail", "string", "the figure or record behind the reason", required=True),
        RUN,
    ),
)

OWNER_WORKLOAD = Table(
    "owner_workload",
    "one row per owner with open opportunities or rows in the queue: the day's capacity and what fills it",
    ("owner_id",),
    (
        C("owner_id", "string", "owner", required=True),
        AS_OF,
        C("capacity_minutes", "int64", "selling time of the day", unit="minutes", required=True, minimum=0),
        C(
            "capacity_basis",
            "string",
            "where the capacity comes from: a setting for the owner, the owners table, a setting for all, past activities, or the default",
            required=True,
            allowed=CAPACITY_BASES,
        ),
        C("planned_minutes", "int64", "minutes of the queue's rows", unit="minutes", required=True, minimum=0),
        C("queue_rows", "int64", "rows in the queue", required=True, minimum=0),
        C("exploration_rows", "int64", "of them drawn at random", required=True, minimum=0),
        C("reassigned_rows", "int64", "of them reassigned from inactive owners", required=True, minimum=0),
        C("open_count", "int64", "open opportunities the CRM gives the owner", required=True, minimum=0),
        C(
            "eligible_count",
            "int64",
            "opportunities that a follow-up could have been queued for",
            required=True,
            minimum=0,
        ),
        C("capacity_left_out_count", "int64", "of them left out for want of capacity", required=True, minimum=0),
        C("due_at", "timestamp", "end of the owner's next working day", unit="UTC", required=True),
        RUN,
    ),
)

QUEUE_EFFECT = Table(
    "queue_effect",
    "one row per figure and method: what following the queue changed, by its hold-out, and what became of its rows, by feedback",
    ("figure", "method"),
    (
        C(
            "figure",
            "string",
            "win_rate: won within horizon_days (0–1); won_value: amount won within them per opportunity; shares of follow-ups dealt with (0–1)",
            required=True,
            allowed=EFFECT_FIGURES,
        ),
        C(
            "method",
            "string",
            "difference of means, the same adjusted for what was predicted at assignment, or feedback",
            required=True,
            allowed=EFFECT_METHODS,
        ),
        C(
            "value",
            "float64",
            "queue minus hold-out (intention to treat), or the share",
            null_means="no evidence yet, see detail",
            decimals=6,
        ),
        C("low_80", "float64", "lower end of the 80 % interval", null_means="as value, or no interval", decimals=6),
        C("high_80", "float64", "upper end of the 80 % interval", null_means="as value, or no interval", decimals=6),
        C("low_90", "float64", "lower end of the 90 % interval", null_means="as value, or no interval", decimals=6),
        C("high_90", "float64", "upper end of the 90 % interval", null_means="as value, or no interval", decimals=6),
        C(
            "queue_rows",
            "int64",
            "matured opportunities not held out, or follow-ups dealt with",
            required=True,
            minimum=0,
        ),
        C("hold_out_rows", "int64", "matured opportunities held out", required=True, minimum=0),
        C("queue_mean", "float64", "mean of the figure over the first", null_means="none matured", decimals=6),
        C("hold_out_mean", "float64", "mean over the held-out ones", null_means="none matured", decimals=6),
        C("maturing_rows", "int64", "eligible opportunities younger than horizon_days", required=True, minimum=0),
        C(
            "missing_rows",
            "int64",
            "more matured opportunities needed until the 90 % interval is as narrow as the parameters ask for",
            null_means="not applicable, or the spread is not known yet",
            minimum=0,
        ),
        C(
            "horizon_days",
            "int64",
            "days after assignment within which wins count",
            unit="days",
            required=True,
            minimum=0,
        ),
        C("currency", "string", "ISO 4217 code of won_value", null_means="not a value, or several currencies by rate"),
        C("detail", "string", "what the figure rests on, or why there is none", required=True),
        AS_OF,
        RUN,
    ),
)

ROW_LEDGER_SUMMARY = Table(
    "row_ledger_summary",
    "one row per export file, outcome and reason; records add up to the file's physical records",
    ("file", "sha256", "outcome", "reason"),
    (
        C("file", "string", "file name within its export", required=True),
        C("sha256", "string", "digest of the file", required=True),
        C("export_id", "string", "export it belongs to", required=True),
        C("canonical_table", "string", "table it was read into", null_means="not mapped to a table"),
        C(
            "outcome",
            "string",
            "accepted, duplicate_of, quarantined or structural",
            required=True,
            allowed=("accepted", "duplicate_of", "quarantined", "structural"),
        ),
        C("reason", "string", "why; empty text for accepted", required=True),
        C("records", "int64", "physical records", required=True, minimum=0),
        RUN,
    ),
)

FIELD_DICTIONARY = Table(
    "field_dictionary",
    "one row per column of the published tables",
    ("table", "column"),
    tuple(
        C(name, "string", meaning, required=True)
        for name, meaning in (
            ("table", "published table"),
            ("column", "column"),
            ("type", "logical type"),
            ("unit", "unit"),
            ("meaning", "meaning"),
            ("empty_means", "what an empty cell means"),
            ("allowed", "allowed values"),
            ("key", "yes for key columns"),
        )
    ),
)

MODEL_MONITORING = Table(
    "model_monitoring",
    "one row per figure of the model at work: drift of its inputs and scores, and how past published scores turned out",
    ("kind", "subject", "figure", "reference"),
    (
        C("kind", "string", "what is watched", required=True, allowed=MONITORING_KINDS),
        C("subject", "string", "feature, attribute (as `attribute:<name>`) or score", required=True),
        C("figure", "string", "name of the figure", required=True),
        C(
            "reference",
            "string",
            "what it is compared with or taken over: training, previous_run, earlier_runs, past_runs, or the month of the runs judged (YYYY-MM)",
            required=True,
        ),
        C("value", "float64", "the figure", null_means="not computed, see detail", decimals=6),
        C("low", "float64", "lower end of the 80 % interval", null_means="no interval", decimals=6),
        C("high", "float64", "upper end of the 80 % interval", null_means="no interval", decimals=6),
        C("limit_low", "float64", "below it the figure is an alert", null_means="no lower limit", decimals=6),
        C("limit_high", "float64", "above it the figure is an alert", null_means="no upper limit", decimals=6),
        C("is_alert", "boolean", "the value lies outside its limits", required=True),
        C("rows", "int64", "rows behind the figure", required=True, minimum=0),
        C("detail", "string", "what it rests on, or why it could not be computed", required=True),
        AS_OF,
        RUN,
    ),
)

PUBLISHED_TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        SCORED_OPPORTUNITIES,
        FOLLOW_UP_QUEUE,
        LEFT_OUT,
        ROW_LEDGER_SUMMARY,
        FIELD_DICTIONARY,
        MODEL_MONITORING,
        *MANAGEMENT_TABLES,
        *FORECAST_TABLES,
        OWNER_WORKLOAD,
        QUEUE_EFFECT,
    )
}
"""By name, in the order they are written."""
