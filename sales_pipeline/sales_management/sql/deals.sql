-- One row per opportunity and time it was won or lost, with amount and owner at the end of that instant; one row with no closing for an
-- opportunity that never was. Known at T when closed_at < T and (reopened_at IS NULL or T <= reopened_at). Leads are no deals.
WITH versioned AS (
  SELECT
    COALESCE(MAX(CASE WHEN field = 'stage' AND is_versioned THEN 1 ELSE 0 END), 0) AS stage_versioned,
    COALESCE(MAX(CASE WHEN field = 'amount' AND is_versioned THEN 1 ELSE 0 END), 0) AS amount_versioned,
    COALESCE(MAX(CASE WHEN field = 'owner_id' AND is_versioned THEN 1 ELSE 0 END), 0) AS owner_versioned
  FROM field_history
), deals AS (
  SELECT opportunity_id, owner_id, currency, amount, state, created_at, closed_at, removed_at
  FROM opportunities
  WHERE kind = 'opportunity'
), moves AS (
  SELECT
    c.opportunity_id, c.changed_at, c.sequence, c.state, c.amount, c.owner_id,
    LAG(c.state) OVER (PARTITION BY c.opportunity_id ORDER BY c.changed_at, c.sequence) AS previous_state,
    LEAD(c.changed_at) OVER (PARTITION BY c.opportunity_id ORDER BY c.changed_at, c.sequence) AS next_changed_at
  FROM opportunity_changes AS c
  CROSS JOIN versioned AS v
  WHERE v.stage_versioned = 1
), entries AS (
  SELECT
    opportunity_id, changed_at, state,
    LEAD(changed_at) OVER (PARTITION BY opportunity_id ORDER BY changed_at, sequence) AS reopened_at
  FROM moves
  WHERE previous_state IS NULL OR state <> previous_state
), closings AS (
  SELECT e.opportunity_id, e.state, e.changed_at AS closed_at, e.reopened_at, m.amount, m.owner_id
  FROM entries AS e
  JOIN moves AS m
    ON m.opportunity_id = e.opportunity_id AND m.changed_at = e.changed_at AND (m.next_changed_at IS NULL OR m.next_changed_at > m.changed_at)
  WHERE e.state IN ('won', 'lost') AND (e.reopened_at IS NULL OR e.reopened_at > e.changed_at)
), tracked AS (
  SELECT opportunity_id, COUNT(*) AS change_count
  FROM moves
  GROUP BY opportunity_id
)
SELECT
  d.opportunity_id,
  CASE WHEN v.owner_versioned = 1 AND c.opportunity_id IS NOT NULL THEN c.owner_id ELSE d.owner_id END AS owner_id,
  d.currency,
  CASE WHEN v.amount_versioned = 1 AND c.opportunity_id IS NOT NULL THEN c.amount ELSE d.amount END AS amount,
  d.created_at,
  d.removed_at,
  CASE
    WHEN c.opportunity_id IS NOT NULL THEN c.state = 'won'
    WHEN t.opportunity_id IS NULL AND d.state <> 'open' THEN d.state = 'won'
  END AS is_won,
  CASE WHEN t.opportunity_id IS NULL THEN d.closed_at ELSE c.closed_at END AS closed_at,
  c.reopened_at
FROM deals AS d
CROSS JOIN versioned AS v
LEFT JOIN tracked AS t ON t.opportunity_id = d.opportunity_id
LEFT JOIN closings AS c ON c.opportunity_id = d.opportunity_id
