-- One row per owner and as-of of the spine: what the owner had closed, and has open, strictly before it; counted as in account_counts.
WITH events AS (
  SELECT owner_id, closed_at AS happened_at, 1 AS is_event, CASE WHEN is_won THEN 1 ELSE 0 END AS won, 1 AS closed, 0 AS opened
  FROM closings WHERE owner_id IS NOT NULL
  UNION ALL
  SELECT owner_id, reopened_at, 1, CASE WHEN is_won THEN -1 ELSE 0 END, -1, 0
  FROM closings WHERE owner_id IS NOT NULL AND reopened_at IS NOT NULL
  UNION ALL
  SELECT owner_id, started_at, 1, 0, 0, 1 FROM open_spans WHERE owner_id IS NOT NULL
  UNION ALL
  SELECT owner_id, ended_at, 1, 0, 0, -1 FROM open_spans WHERE owner_id IS NOT NULL AND ended_at IS NOT NULL
  UNION ALL
  SELECT DISTINCT owner_id, as_of, 0, 0, 0, 0 FROM spine WHERE owner_id IS NOT NULL
), running AS (
  SELECT
    owner_id,
    happened_at,
    is_event,
    CAST(SUM(won) OVER (PARTITION BY owner_id ORDER BY happened_at, is_event ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS won_count,
    CAST(SUM(closed) OVER (PARTITION BY owner_id ORDER BY happened_at, is_event ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS closed_count,
    CAST(SUM(opened) OVER (PARTITION BY owner_id ORDER BY happened_at, is_event ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS open_count
  FROM events
)
SELECT
  owner_id,
  happened_at AS as_of,
  won_count,
  closed_count,
  open_count
FROM running
WHERE is_event = 0
