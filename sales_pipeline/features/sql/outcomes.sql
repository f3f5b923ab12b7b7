-- One row per opportunity known before $as_of: what had become of it by then. A closing whose instant is nowhere recorded counts as known
-- from the last modification on, and as known where that is missing too.
WITH closed AS (
  SELECT opportunity_id, is_won, closed_at
  FROM closings
  WHERE closed_at < $as_of AND (reopened_at IS NULL OR reopened_at >= $as_of)
), latest_state AS (
  SELECT opportunity_id, amount
  FROM timeline
  WHERE changed_at < $as_of AND (next_changed_at IS NULL OR next_changed_at >= $as_of)
), known AS (
  SELECT
    o.opportunity_id,
    o.account_id,
    o.created_at,
    o.currency,
    CASE
      WHEN c.opportunity_id IS NOT NULL THEN c.is_won
      WHEN NOT o.has_timeline AND o.state <> 'open' AND o.closed_at IS NULL
        AND (o.modified_at IS NULL OR o.modified_at < $as_of) THEN o.state = 'won'
    END AS is_won,
    c.closed_at,
    CASE WHEN o.has_amount_history THEN s.amount ELSE o.amount END AS last_amount
  FROM current_facts AS o
  LEFT JOIN closed AS c ON c.opportunity_id = o.opportunity_id
  LEFT JOIN latest_state AS s ON s.opportunity_id = o.opportunity_id
  WHERE o.created_at IS NULL OR o.created_at < $as_of
)
SELECT
  opportunity_id,
  account_id,
  created_at,
  is_won,
  closed_at,
  CASE WHEN is_won THEN last_amount END AS won_amount,
  currency
FROM known
