-- One row per time an opportunity was closed: won or lost from closed_at on, until reopened_at (the next change of state) if any.
-- Known at T when closed_at < T and (reopened_at IS NULL or T <= reopened_at). Amount and owner are those at the end of that instant.
WITH runs AS (
  SELECT
    opportunity_id,
    changed_at,
    state,
    LEAD(changed_at) OVER (PARTITION BY opportunity_id ORDER BY position) AS reopened_at
  FROM timeline
  WHERE is_state_entry = 1
)
SELECT
  o.opportunity_id,
  o.account_id,
  o.product_id,
  o.currency,
  CASE WHEN o.has_owner_history THEN t.owner_id ELSE o.owner_id END AS owner_id,
  CASE WHEN o.has_amount_history THEN t.amount ELSE o.amount END AS amount,
  r.state = 'won' AS is_won,
  r.changed_at AS closed_at,
  r.reopened_at
FROM runs AS r
JOIN current_facts AS o ON o.opportunity_id = r.opportunity_id AND o.has_timeline
JOIN timeline AS t
  ON t.opportunity_id = r.opportunity_id
  AND t.changed_at = r.changed_at
  AND (t.next_changed_at IS NULL OR t.next_changed_at > t.changed_at)
WHERE r.state IN ('won', 'lost') AND (r.reopened_at IS NULL OR r.reopened_at > r.changed_at)
UNION ALL
SELECT
  opportunity_id,
  account_id,
  product_id,
  currency,
  owner_id,
  amount,
  state = 'won' AS is_won,
  closed_at,
  CAST(NULL AS TIMESTAMPTZ) AS reopened_at
FROM current_facts
WHERE NOT has_timeline AND state IN ('won', 'lost') AND closed_at IS NOT NULL
