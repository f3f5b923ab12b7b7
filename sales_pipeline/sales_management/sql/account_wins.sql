-- One row per account and currency: what was won
SELECT account_id, currency, CAST(COALESCE(SUM(amount), 0) AS DECIMAL(18, 2)) AS won_value
FROM opportunity_states
WHERE is_won AND account_id IS NOT NULL
GROUP BY account_id, currency
