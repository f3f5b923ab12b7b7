-- One row per account and product it has bought
WITH bought AS (
  SELECT s.account_id, l.product_id
  FROM opportunity_states AS s
  JOIN opportunity_products AS l ON l.opportunity_id = s.opportunity_id
  WHERE s.is_won AND (l.created_at IS NULL OR l.created_at < $as_of)
  UNION ALL
  SELECT account_id, product_id FROM opportunity_states WHERE is_won
)
SELECT DISTINCT account_id, product_id
FROM bought
WHERE account_id IS NOT NULL AND product_id IS NOT NULL
