-- One row per opportunity and time it was won or lost, with amount and owner at the end of that instant; one row with no closing for an
-- opportunity that never was. Known at T when closed_at < T and (reopened_at IS NULL or T <= reopened_at). Leads are no deals.
SELECT
  o.opportunity_id,
  CASE WHEN c.opportunity_id IS NOT NULL THEN c.owner_id ELSE o.owner_id END AS owner_id,
  o.currency,
  CASE WHEN c.opportunity_id IS NOT NULL THEN c.amount ELSE o.amount END AS amount,
  o.created_at,
  o.removed_at,
  CASE
    WHEN c.opportunity_id IS NOT NULL THEN c.is_won
    WHEN NOT o.has_timeline AND o.state <> 'open' THEN o.state = 'won'
  END AS is_won,
  CASE WHEN o.has_timeline THEN c.closed_at ELSE o.closed_at END AS closed_at,
  c.reopened_at
FROM current_facts AS o
LEFT JOIN closings AS c ON c.opportunity_id = o.opportunity_id
WHERE o.kind = 'opportunity'
