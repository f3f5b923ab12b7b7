-- figures of the whole table
SELECT COUNT(*) AS row_count, COUNT(CASE WHEN o.opportunity_id IS NULL THEN 1 END) AS unknown_opportunity_count,
  1 - COALESCE(CAST(COUNT(CASE WHEN c.is_creation THEN 1 END) AS DOUBLE) / NULLIF(COUNT(DISTINCT c.opportunity_id), 0), 1) AS no_creation_share,
  COUNT(CASE WHEN c.changed_at < o.created_at THEN 1 END) AS changed_before_creation_count
FROM opportunity_changes AS c LEFT JOIN opportunities AS o ON o.opportunity_id = c.opportunity_id
