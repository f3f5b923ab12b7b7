-- One row per opportunity created before $as_of (or at an unknown instant) and not removed before it: what was known of it strictly before
-- $as_of. is_won NULL: open then. The main product is the recorded one, else that of the line with the largest price.
WITH closed AS (
  SELECT opportunity_id, is_won, closed_at
  FROM closings
  WHERE closed_at < $as_of AND (reopened_at IS NULL OR reopened_at >= $as_of)
), latest_state AS (
  SELECT opportunity_id, amount, owner_id, CASE WHEN amount IS NOT NULL THEN first_amount END AS first_amount
  FROM timeline
  WHERE changed_at < $as_of AND (next_changed_at IS NULL OR next_changed_at >= $as_of)
), lines AS (
  SELECT
    opportunity_id,
    product_id,
    ROW_NUMBER() OVER (PARTITION BY opportunity_id ORDER BY CASE WHEN total_price IS NULL THEN 1 ELSE 0 END, total_price DESC, line_id) AS line_number
  FROM opportunity_products
  WHERE product_id IS NOT NULL AND (created_at IS NULL OR created_at < $as_of)
)
SELECT
  o.opportunity_id,
  o.kind,
  o.has_timeline,
  o.has_owner_history,
  o.account_id,
  CASE WHEN o.has_owner_history THEN s.owner_id ELSE o.owner_id END AS owner_id,
  o.created_at,
  CASE
    WHEN c.opportunity_id IS NOT NULL THEN c.is_won
    WHEN NOT o.has_timeline AND o.state <> 'open' AND o.closed_at IS NULL AND (o.modified_at IS NULL OR o.modified_at < $as_of) THEN o.state = 'won'
  END AS is_won,
  c.closed_at,
  o.currency,
  CASE WHEN o.has_amount_history THEN s.amount ELSE o.amount END AS amount,
  CASE WHEN o.has_amount_history THEN s.first_amount ELSE o.amount END AS first_amount,
  o.lead_source,
  o.opportunity_type,
  COALESCE(o.product_id, l.product_id) AS product_id,
  a.industry,
  a.employees
FROM current_facts AS o
LEFT JOIN closed AS c ON c.opportunity_id = o.opportunity_id
LEFT JOIN latest_state AS s ON s.opportunity_id = o.opportunity_id
LEFT JOIN lines AS l ON l.opportunity_id = o.opportunity_id AND l.line_number = 1
LEFT JOIN accounts AS a ON a.account_id = o.account_id
WHERE (o.created_at IS NULL OR o.created_at < $as_of) AND (o.removed_at IS NULL OR o.removed_at >= $as_of)
