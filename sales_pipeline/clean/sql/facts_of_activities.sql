-- figures of the whole table
SELECT COUNT(*) AS row_count, COUNT(CASE WHEN a.opportunity_id IS NOT NULL AND o.opportunity_id IS NULL THEN 1 END) AS unknown_opportunity_count,
  COALESCE(CAST(COUNT(CASE WHEN a.logged_at < a.occurred_at THEN 1 END) AS DOUBLE) / NULLIF(COUNT(*), 0), 0) AS logged_before_happening_share
FROM activities AS a LEFT JOIN opportunities AS o ON o.opportunity_id = a.opportunity_id
