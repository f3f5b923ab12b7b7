-- One row per owner and number of days from creation: opportunities created in the window that closed after so many days, and those still open after
-- so many. Without a known creation or closing instant there is no time.
WITH lives AS (
  SELECT owner_id, days_between(created_at, COALESCE(closed_at, $as_of - INTERVAL '1' MICROSECOND)) AS days, is_won
  FROM opportunity_states
  WHERE kind = $counted_kind AND created_at >= $created_from AND (is_won IS NULL OR closed_at >= created_at)
)
SELECT
  owner_id,
  days,
  COUNT(CASE WHEN is_won IS NOT NULL THEN 1 END) AS ended_count,
  COUNT(CASE WHEN is_won IS NULL THEN 1 END) AS going_count
FROM lives
GROUP BY owner_id, days
