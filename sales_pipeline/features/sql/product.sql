-- Family product: the product's family and list price, and its record strictly before the as-of.
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
  s.opportunity_id,
  s.as_of,
  s.product_id AS product,
  p.family AS product_family,
  CAST(p.list_price AS DOUBLE) AS product_list_price,
  shrunken(r.won_count, r.closed_count, a.win_rate, $product_prior_weight) AS product_win_rate
FROM spine AS s
LEFT JOIN running AS r ON r.product_id = s.product_id AND r.happened_at = s.as_of AND r.is_event = 0
LEFT JOIN overall_record AS a ON a.as_of = s.as_of
LEFT JOIN products AS p ON p.product_id = s.product_id
