-- One row per account that has bought: wins, the different days of them (those at an unknown instant together count as one day), first and last
SELECT
  account_id,
  COUNT(*) AS won_count,
  COUNT(DISTINCT COALESCE(day_of(closed_at), CAST('1900-01-01' AS DATE))) AS purchase_days,
  MIN(closed_at) AS first_won_at,
  MAX(closed_at) AS last_won_at
FROM opportunity_states
WHERE is_won AND account_id IS NOT NULL
GROUP BY account_id
