-- share of opportunities that appeared after the first export
WITH first_seen AS (
  SELECT opportunity_id, MIN(exported_at) AS first_at FROM staged_opportunities WHERE problem IS NULL GROUP BY opportunity_id
)
SELECT CAST(SUM(CASE WHEN first_at > $first THEN 1 ELSE 0 END) AS DOUBLE) / NULLIF(COUNT(*), 0) AS new_share FROM first_seen
