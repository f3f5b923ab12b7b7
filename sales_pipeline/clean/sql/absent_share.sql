-- share of the opportunities of the extract before the newest full one that the newest one lacks
WITH alive AS (
  SELECT s.opportunity_id, MAX(s.exported_at) AS last_seen_at FROM staged_opportunities AS s WHERE s.problem IS NULL GROUP BY s.opportunity_id
)
SELECT COUNT(*) AS opportunities, CAST(SUM(CASE WHEN last_seen_at < $newest THEN 1 ELSE 0 END) AS BIGINT) AS absent
FROM alive WHERE last_seen_at >= $previous
