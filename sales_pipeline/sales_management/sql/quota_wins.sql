-- One row per owner with a quota and currency: what was won in the quota's period before the as-of
SELECT s.owner_id, s.currency, CAST(COALESCE(SUM(s.amount), 0) AS DECIMAL(18, 2)) AS won_value
FROM opportunity_states AS s
JOIN quota_periods AS q ON q.owner_id = s.owner_id
WHERE s.is_won AND s.closed_at IS NOT NULL AND day_of(s.closed_at) >= q.period_start
GROUP BY s.owner_id, s.currency
