-- One row per as-of of the spine: closings known strictly before it, over everything. The prior of the shrunken rates; NULL where nothing
-- had closed. Counted by one running sum over events and questions, questions first at equal instants, so that it stays linear.
WITH events AS (
  SELECT closed_at AS happened_at, 1 AS is_event, CASE WHEN is_won THEN 1 ELSE 0 END AS won, 1 AS closed FROM closings
  UNION ALL
  SELECT reopened_at, 1, CASE WHEN is_won THEN -1 ELSE 0 END, -1 FROM closings WHERE reopened_at IS NOT NULL
  UNION ALL
  SELECT DISTINCT as_of, 0, 0, 0 FROM spine
), running AS (
  SELECT
    happened_at,
    is_event,
    CAST(SUM(won) OVER (ORDER BY happened_at, is_event ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS won_count,
    CAST(SUM(closed) OVER (ORDER BY happened_at, is_event ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS closed_count
  FROM events
)
SELECT happened_at AS as_of, won_count, closed_count, ratio(won_count, closed_count) AS win_rate
FROM running
WHERE is_event = 0
