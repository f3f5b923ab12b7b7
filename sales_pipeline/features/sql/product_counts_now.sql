-- The rows of product_counts where the spine has one as-of, $as_of; added up as in account_counts_now.
WITH asked AS (
  SELECT DISTINCT product_id FROM spine WHERE product_id IS NOT NULL
), closed AS (
  SELECT product_id, SUM(CASE WHEN is_won THEN 1 ELSE 0 END) AS won_count, COUNT(*) AS closed_count
  FROM closings
  WHERE product_id IS NOT NULL AND closed_at < $as_of AND (reopened_at IS NULL OR reopened_at >= $as_of)
  GROUP BY product_id
)
SELECT
  a.product_id,
  $as_of AS as_of,
  CAST(COALESCE(c.won_count, 0) AS BIGINT) AS won_count,
  CAST(COALESCE(c.closed_count, 0) AS BIGINT) AS closed_count
FROM asked AS a
LEFT JOIN closed AS c ON c.product_id = a.product_id
