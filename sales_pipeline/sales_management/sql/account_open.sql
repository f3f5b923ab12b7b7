-- One row per account and currency: what is open
SELECT
  account_id,
  currency,
  COUNT(*) AS open_count,
  CAST(COALESCE(SUM(amount), 0) AS DECIMAL(18, 2)) AS open_value,
  CAST(COALESCE(SUM(expected_value), 0) AS DECIMAL(18, 2)) AS expected_value
FROM scored_opportunities
WHERE account_id IS NOT NULL
GROUP BY account_id, currency
