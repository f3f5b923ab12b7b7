-- counts over the whole table; those of parts add up where all changes of an opportunity are in one of them
SELECT COUNT(*) AS row_count, COUNT(CASE WHEN o.opportunity_id IS NULL THEN 1 END) AS unknown_opportunity_count,
  COUNT(CASE WHEN c.is_creation THEN 1 END) AS creation_count, COUNT(DISTINCT c.opportunity_id) AS opportunity_count,
  COUNT(CASE WHEN c.changed_at < o.created_at THEN 1 END) AS changed_before_creation_count
FROM opportunity_changes AS c LEFT JOIN opportunities AS o ON o.opportunity_id = c.opportunity_id
