-- One row per account and product of what is open with it
SELECT DISTINCT s.account_id, COALESCE(l.product_id, s.product_id) AS product_id
FROM opportunity_states AS s
JOIN scored_opportunities AS o ON o.opportunity_id = s.opportunity_id
LEFT JOIN opportunity_products AS l ON l.opportunity_id = s.opportunity_id AND (l.created_at IS NULL OR l.created_at < $as_of)
WHERE s.account_id IS NOT NULL AND COALESCE(l.product_id, s.product_id) IS NOT NULL
