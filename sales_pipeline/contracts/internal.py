"""Tables that stages hand to each other and that are not published.

Belongs here: the declaration of hand-over tables. Wide feature tables follow the feature catalogue and are declared there.
"""

from __future__ import annotations

from typing import Any

from sales_pipeline.contracts.model import Column, Table

C = Column
_P: dict[str, Any] = {"unit": "0–1", "minimum": 0.0, "maximum": 1.0}

ROW_LEDGER = Table(
    "row_ledger",
    "one row per physical record of an export file",
    ("source_file", "source_record"),
    (
        C("source_file", "string", "sha256 of the file", required=True),
        C(
            "source_record",
            "int64",
            "number of the physical record, 1 for the first data record, 0 and below for records before it (header, preamble)",
            required=True,
        ),
        C(
            "line",
            "int64",
            "line of the file the record starts at, 1 for the first",
            null_means="the format has no lines; or the strict reader read it, then line = record + header lines",
        ),
        C("file", "string", "file name within its export", required=True),
        C("export_id", "string", "export", required=True),
        C("canonical_table", "string", "table the file is mapped to", null_means="not mapped"),
        C(
            "outcome",
            "string",
            "what became of the record",
            required=True,
            allowed=("accepted", "duplicate_of", "quarantined", "structural"),
        ),
        C("reason", "string", "why; empty for accepted", required=True),
        C("column", "string", "column at fault", null_means="the record as a whole"),
        C("value", "string", "value at fault", null_means="no single value"),
        C("duplicate_of", "string", "`sha256:record` of the record that was kept", null_means="not a duplicate"),
    ),
)

ROW_VERDICTS = Table(
    "row_verdicts",
    "one row per physical record that ingest accepted and cleaning did not take: what stands here counts instead",
    ("source_file", "source_record"),
    tuple(
        ROW_LEDGER.column(name)
        for name in ("source_file", "source_record", "outcome", "reason", "column", "value", "duplicate_of")
    ),
)

CELL_ISSUES = Table(
    "cell_issues",
    "one row per cell of an accepted record whose value could not be used and was set to NULL",
    ("source_file", "source_record", "column"),
    (
        C("source_file", "string", "sha256 of the file", required=True),
        C("source_record", "int64", "number of the physical record", required=True),
        C("file", "string", "file name", required=True),
        C("canonical_table", "string", "canonical table", required=True),
        C("column", "string", "canonical column", required=True),
        C("value", "string", "value as found", null_means="empty"),
        C("reason", "string", "why it could not be used", required=True),
    ),
)

SPINE = Table(
    "spine",
    "one row per opportunity and as-of at which it was open: the state strictly before the as-of",
    ("opportunity_id", "as_of"),
    (
        C("opportunity_id", "string", "opportunity", required=True),
        C("as_of", "timestamp", "the instant the row holds for", unit="UTC", required=True),
        C("source_system", "string", "CRM instance", required=True),
        C("kind", "string", "opportunity or lead", required=True),
        C("pipeline", "string", "sales process", null_means="only one pipeline"),
        C("account_id", "string", "account", null_means="no account"),
        C("contact_id", "string", "main contact", null_means="not recorded"),
        C("owner_id", "string", "owner at as_of", null_means="none"),
        C("product_id", "string", "main product", null_means="not recorded"),
        C("stage", "string", "stage at as_of", null_means="none"),
        C("currency", "string", "ISO 4217", required=True),
        C("amount", "amount", "amount at as_of", null_means="none, or not recorded"),
        C("crm_close_date", "date", "CRM close date at as_of", null_means="none, or not recorded"),
        C("crm_probability", "float64", "CRM probability at as_of", null_means="none, or not versioned", **_P),
        C("created_at", "timestamp", "creation", unit="UTC", null_means="not recorded"),
        C("is_landmark", "boolean", "a past as-of used for training; false for the scoring as-of", required=True),
    ),
)

OUTCOMES = Table(
    "outcomes",
    "one row per opportunity: what became of it, as known strictly before the as-of the table was built for",
    ("opportunity_id",),
    (
        C("opportunity_id", "string", "opportunity", required=True),
        C("account_id", "string", "account, for grouped splits", null_means="no account"),
        C("created_at", "timestamp", "creation", unit="UTC", null_means="not recorded"),
        C("is_won", "boolean", "won (true), lost (false)", null_means="still open: censored, not lost"),
        C(
            "closed_at",
            "timestamp",
            "when it closed",
            unit="UTC",
            null_means="still open, or the instant is not recorded",
        ),
        C("won_amount", "amount", "amount at the win", null_means="not won, or no amount"),
        C("currency", "string", "ISO 4217", required=True),
    ),
)

LEAK_VERDICTS = ("use", "constant", "identifier", "leak", "suspect", "never_use", "use_anyway", "unstable")

TOUCHES = Table(
    "touches",
    "one row per opportunity open at the as-of that was ever contacted: when it last was, as known strictly before the as-of",
    ("opportunity_id",),
    (
        C("opportunity_id", "string", "opportunity", required=True),
        C("contact_id", "string", "person of the last contact that names one", null_means="none does"),
        C("last_touch_at", "timestamp", "the last call, e-mail or meeting", unit="UTC", required=True),
        C("last_inbound_at", "timestamp", "the last of theirs", unit="UTC", null_means="none"),
        C("last_outbound_at", "timestamp", "the last of ours", unit="UTC", null_means="none"),
    ),
)

LEAK_LEDGER = Table(
    "leak_ledger",
    "one row per candidate column: why it may or may not be used",
    ("column",),
    (
        C("column", "string", "feature, or attribute as `attribute:<name>`", required=True),
        C("verdict", "string", "what was decided", required=True, allowed=LEAK_VERDICTS),
        C("is_used", "boolean", "whether the models may see it", required=True),
        C(
            "basis",
            "string",
            "statistics, semantics, configuration or shape",
            required=True,
            allowed=("statistics", "semantics", "configuration", "shape", "none"),
        ),
        C("reason", "string", "one sentence", required=True),
        C("figure", "float64", "the figure behind the reason", null_means="no figure behind it"),
        C("filled_open_share", "float64", "share filled among open", null_means="no open rows", **_P),
        C("filled_closed_share", "float64", "share filled among closed", null_means="no closed rows", **_P),
        C(
            "auc_alone",
            "float64",
            "area under the ROC curve of the column alone, on closed rows",
            null_means="one class only, or not computed",
            **_P,
        ),
        C(
            "first_filled_days_before_close",
            "float64",
            "median time from the first value to the closing",
            unit="days",
            null_means="changes of the column are not known, or no closed opportunity ever held a value",
        ),
        C(
            "filled_at_close_share",
            "float64",
            "share of closed opportunities with a value that got the first one at the closing or later",
            null_means="as first_filled_days_before_close",
            **_P,
        ),
        C(
            "changed_since_landmark_share",
            "float64",
            "share of landmarks of closed opportunities at which another value stood than is seen last",
            null_means="changes of the column are not known, or no landmark lies in the time they are known",
            **_P,
        ),
        C(
            "psi",
            "float64",
            "population stability index of the values between open and closed, beyond what chance gives; the smaller of all "
            "rows and of rows created in the same time",
            null_means="too few filled rows on one side",
            minimum=0,
        ),
        C(
            "jensen_shannon",
            "float64",
            "Jensen–Shannon distance (base 2) of the same, beyond what chance gives",
            null_means="as psi",
            **_P,
        ),
        C(
            "auc_with",
            "float64",
            "AUC on closed rows of the used columns together with this one, for a column left out",
            null_means="the column is used or has one value, or too few closed rows",
            **_P,
        ),
        C("auc_without", "float64", "AUC of the used columns alone on the same rows", null_means="as auc_with", **_P),
    ),
)

PREDICTIONS = Table(
    "predictions",
    "one row per spine row that was scored",
    ("opportunity_id", "as_of"),
    (
        C("opportunity_id", "string", "opportunity", required=True),
        C("as_of", "timestamp", "as-of of the row", unit="UTC", required=True),
        C("win_probability", "float64", "ever won", null_means="abstained", **_P),
        C("win_probability_low", "float64", "80 % interval", null_means="abstained", **_P),
        C("win_probability_high", "float64", "80 % interval", null_means="abstained", **_P),
        C("win_probability_30d", "float64", "won within 30 days", null_means="abstained, or no closing times", **_P),
        C("win_probability_90d", "float64", "won within 90 days", null_means="abstained, or no closing times", **_P),
        C("expected_amount", "float64", "expected amount if won", null_means="no won amounts known", minimum=0),
        C("expected_amount_low", "float64", "80 % interval", null_means="as expected_amount", minimum=0),
        C("expected_amount_high", "float64", "80 % interval", null_means="as expected_amount", minimum=0),
        C("predicted_close_date", "date", "median closing day", null_means="abstained, or no closing times"),
        C("predicted_close_date_low", "date", "10 % quantile", null_means="as predicted_close_date"),
        C("predicted_close_date_high", "date", "90 % quantile", null_means="as predicted_close_date"),
        C(
            "slip_probability",
            "float64",
            "open past the CRM's close date",
            null_means="no CRM close date, or no closing times",
            **_P,
        ),
        C("reasons_up", "reasons", "up to three, largest first", required=True),
        C("reasons_down", "reasons", "up to three, largest first", required=True),
        C("evidence_level", "string", "what it rests on", required=True),
        C("abstain_reason", "string", "why no probability", null_means="a probability is given"),
        C(
            "win_probability_owner_free",
            "float64",
            "ever won, without what the owner's record adds: what the queue ranks by, so that no owner's rows sink for whose they are",
            null_means="abstained",
            **_P,
        ),
    ),
)

REPLAY = Table(
    "replay",
    "one row per opportunity and replay date at which it was open: what was said then, from what was known then, and what came",
    ("opportunity_id", "as_of"),
    (
        C("opportunity_id", "string", "opportunity", required=True),
        C(
            "as_of",
            "timestamp",
            "replay date: training and features saw only what was known strictly before",
            unit="UTC",
            required=True,
        ),
        C("kind", "string", "opportunity or lead", required=True),
        C("pipeline", "string", "sales process", null_means="only one pipeline"),
        C("account_id", "string", "account", null_means="no account"),
        C("owner_id", "string", "owner at as_of", null_means="none"),
        C("owner_team", "string", "the owner's team", null_means="none, or no teams"),
        C("lead_source", "string", "source", null_means="not recorded"),
        C("stage", "string", "stage at as_of", null_means="none"),
        C("currency", "string", "ISO 4217", required=True),
        C("amount", "amount", "amount at as_of", null_means="none"),
        C("crm_close_date", "date", "CRM close date at as_of", null_means="none"),
        C(
            "crm_probability",
            "float64",
            "the CRM's own probability at as_of",
            null_means="none, or its past values are not known",
            **_P,
        ),
        C(
            "is_won",
            "boolean",
            "won (true), lost (false) by the end of the replay",
            null_means="still open: censored, not lost",
        ),
        C("closed_at", "timestamp", "when it closed", unit="UTC", null_means="still open, or not recorded"),
        C("won_amount", "amount", "amount at the win", null_means="not won, or no amount"),
        C(
            "outcome",
            "float64",
            "1 won, 0 lost by the end; of a row still open then its chance of winning, by a competing-risks model of all rows",
            null_means="nothing can be said",
            **_P,
        ),
        C(
            "weight",
            "float64",
            "1 where the row counts in figures of winning ever, 0 where its date is too young: too few of its rows have closed",
            required=True,
            minimum=0,
        ),
        C("model_version", "string", "the model trained for that date", required=True),
        C("evidence_level", "string", "what the probability rests on", required=True),
        C("abstain_reason", "string", "why no probability", null_means="a probability is given"),
        C("win_probability", "float64", "champion: ever won", null_means="abstained", **_P),
        C("win_probability_low", "float64", "80 % interval", null_means="abstained", **_P),
        C("win_probability_high", "float64", "80 % interval", null_means="abstained", **_P),
        C("win_probability_30d", "float64", "won within 30 days", null_means="abstained, or no closing times", **_P),
        C("win_probability_90d", "float64", "won within 90 days", null_means="abstained, or no closing times", **_P),
        C(
            "slip_probability",
            "float64",
            "open past the CRM's close date",
            null_means="no CRM close date, or no closing times",
            **_P,
        ),
        C("challenger_probability", "float64", "the second recipe: ever won", null_means="no second recipe", **_P),
        C("base_rate", "float64", "baseline: the win rate known then", null_means="no closed opportunity then", **_P),
        C(
            "stage_rate",
            "float64",
            "baseline: shrunken rate of the stage known then",
            null_means="no closed opportunity then",
            **_P,
        ),
        C("expected_amount", "float64", "expected amount if won", null_means="no won amounts known then", minimum=0),
        C("expected_amount_low", "float64", "80 % interval", null_means="as expected_amount", minimum=0),
        C("expected_amount_high", "float64", "80 % interval", null_means="as expected_amount", minimum=0),
        C("predicted_close_date", "date", "median closing day", null_means="abstained, or no closing times"),
        C("predicted_close_date_low", "date", "10 % quantile", null_means="as predicted_close_date"),
        C("predicted_close_date_high", "date", "90 % quantile", null_means="as predicted_close_date"),
    ),
)

BACKTEST_PREDICTIONS = Table(
    "backtest_predictions",
    "one row per opportunity and as-of at which it was scored, whose outcome is known by now",
    ("opportunity_id", "as_of"),
    (
        C("opportunity_id", "string", "opportunity", required=True),
        C("as_of", "timestamp", "as-of it was scored at", unit="UTC", required=True),
        C("is_won", "int64", "1 won, 0 lost", required=True, minimum=0, maximum=1),
        C("win_probability", "float64", "probability given then", required=True, decimals=6, **_P),
        C("amount", "float64", "amount it was won with", null_means="lost, or not recorded", decimals=2),
        C("expected_amount", "float64", "expected amount given then", null_means="no amounts known then", decimals=2),
    ),
)

FEEDBACK_OUTCOMES = ("done", "skipped", "wrong")

FEEDBACK = Table(
    "feedback",
    "one row per thing that was said of a follow-up: done, skipped or wrong; of one follow-up the latest holds",
    ("queue_id", "dealt_with_at", "outcome"),
    (
        C("queue_id", "string", "the follow-up's id", required=True),
        C("dealt_with_at", "timestamp", "when it was done or declined", unit="UTC", required=True),
        C("outcome", "string", "what became of it", required=True, allowed=FEEDBACK_OUTCOMES),
        C("reason", "string", "why, in the user's words; never published", null_means="none given"),
        C("source_system", "string", "of the follow-up", required=True),
        C("opportunity_id", "string", "of the follow-up", required=True),
        C("contact_id", "string", "of the follow-up", null_means="it named nobody"),
        C("action", "string", "of the follow-up", required=True),
        C("stage", "string", "stage of the opportunity when it was proposed", null_means="none"),
        C("episode_id", "string", "episode it was proposed in", null_means="proposed before rows named their episode"),
        C("origin", "string", "a file, or a task in the CRM's export", required=True, allowed=("file", "crm")),
    ),
)

COHORT = Table(
    "queue_cohort",
    "one row per opportunity that a follow-up could ever have been queued for: what was drawn and predicted when that was first so",
    ("source_system", "opportunity_id"),
    (
        C("source_system", "string", "the CRM instance the record comes from", required=True),
        C("opportunity_id", "string", "opportunity", required=True),
        C("assigned_at", "timestamp", "as-of of the first run it was eligible in", unit="UTC", required=True),
        C("is_held_out", "boolean", "kept out of the queue at random", required=True),
        C("win_probability", "float64", "predicted then", null_means="abstained", **_P),
        C("expected_value", "amount", "predicted then", unit="currency", null_means="no amounts known"),
        C("currency", "string", "ISO 4217 code", required=True),
    ),
)

CONTACT_WEEKS = Table(
    "contact_weeks",
    "one row per opportunity and week at whose start it was open: the state then, and the contacts of the week",
    ("opportunity_id", "as_of"),
    (
        C("opportunity_id", "string", "opportunity", required=True),
        C(
            "as_of",
            "timestamp",
            "start of the week; weeks are counted back from the as-of of the run",
            unit="UTC",
            required=True,
        ),
        C("kind", "string", "opportunity or lead", required=True),
        C("account_id", "string", "account", null_means="no account"),
        C("owner_id", "string", "owner at the start", null_means="none"),
        C("stage", "string", "stage at the start", null_means="none"),
        C("created_at", "timestamp", "creation", unit="UTC", null_means="not recorded"),
        C("lead_source", "string", "where it came from", null_means="not recorded"),
        C("industry", "string", "industry of the account", null_means="not recorded"),
        C("employees", "int64", "employees of the account", null_means="not recorded"),
        C(
            "inbound_count",
            "int64",
            "calls, e-mails and meetings from the customer in the week",
            required=True,
            minimum=0,
        ),
        C("call_count", "int64", "calls of ours in the week", required=True, minimum=0),
        C("email_count", "int64", "e-mails of ours in the week", required=True, minimum=0),
        C("meeting_count", "int64", "meetings of ours in the week", required=True, minimum=0),
        C("is_won", "boolean", "what became of it", null_means="still open at the as-of of the run"),
        C("closed_at", "timestamp", "closing", unit="UTC", null_means="still open, or not recorded"),
    ),
)
