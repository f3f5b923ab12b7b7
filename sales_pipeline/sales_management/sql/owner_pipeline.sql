-- One row per owner and currency: what is open. Slipped and stale count records of $counted_kind alone. Untouched are days without activity and without
-- change, counted from the creation where there is neither.
WITH opened AS (
  SELECT
    s.owner_id,
    s.currency,
    s.amount,
    s.expected_value,
    s.kind = $counted_kind AS is_counted,
    s.crm_close_date,
    COALESCE(f.close_date_push_count, 0) > 0 OR s.crm_close_date < day_of(instant_before(s.as_of)) AS is_slipped,
    LEAST(COALESCE(f.days_since_last_activity, f.age_days), COALESCE(f.days_since_last_change, f.age_days)) AS untouched_days
  FROM scored_opportunities AS s
  LEFT JOIN features AS f ON f.opportunity_id = s.opportunity_id
)
SELECT
  owner_id,
  currency,
  COUNT(*) AS open_count,
  COUNT(amount) AS valued_count,
  CAST(COALESCE(SUM(amount), 0) AS DECIMAL(18, 2)) AS open_value,
  CAST(COALESCE(SUM(expected_value), 0) AS DECIMAL(18, 2)) AS expected_value,
  COUNT(CASE WHEN is_counted THEN 1 END) AS counted_count,
  COUNT(CASE WHEN is_counted AND crm_close_date IS NOT NULL THEN 1 END) AS dated_count,
  COUNT(CASE WHEN is_counted AND crm_close_date IS NOT NULL AND is_slipped THEN 1 END) AS slipped_count,
  COUNT(CASE WHEN is_counted AND untouched_days >= $stale_days THEN 1 END) AS stale_count
FROM opened
GROUP BY owner_id, currency
