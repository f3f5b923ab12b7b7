-- One row per product and as-of of the spine: what was closed of it strictly before it; counted as in account_counts.
WITH events AS (
  SELECT product_id, closed_at AS happened_at, 1 AS is_event, CASE WHEN is_won THEN 1 ELSE 0 END AS won, 1 AS closed
  FROM closings WHERE product_id IS NOT NULL
  UNION ALL
  SELECT product_id, reopened_at, 1, CASE WHEN is_won THEN -1 ELSE 0 END, -1
  FROM closings WHERE product_id IS NOT NULL AND reopened_at IS NOT NULL
  UNION ALL
  SELECT DISTINCT product_id, as_of, 0, 0, 0 FROM spine WHERE product_id IS NOT NULL
), running AS (
  SELECT
    product_id,
    happened_at,
    is_event,
    CAST(SUM(won) OVER (PARTITION BY product_id ORDER BY happened_at, is_event ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS won_count,
    CAST(SUM(closed) OVER (PARTITION BY product_id ORDER BY happened_at, is_event ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS closed_count
  FROM events
)
SELECT
  product_id,
  happened_at AS as_of,
  won_count,
  closed_count
FROM running
WHERE is_event = 0
