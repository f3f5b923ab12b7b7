-- counts over the whole table; those of parts add up
SELECT COUNT(*) AS row_count, COUNT(CASE WHEN a.opportunity_id IS NOT NULL AND o.opportunity_id IS NULL THEN 1 END) AS unknown_opportunity_count,
  COUNT(CASE WHEN a.logged_at < a.occurred_at THEN 1 END) AS logged_before_happening_count
FROM activities AS a LEFT JOIN opportunities AS o ON o.opportunity_id = a.opportunity_id
