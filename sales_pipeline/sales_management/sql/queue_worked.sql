-- One row per owner: rows of the run before, and those worked before this as-of: followed by an activity or a change of the opportunity, or said to be done
WITH signs AS (
  SELECT opportunity_id, GREATEST(occurred_at, logged_at) AS seen_at FROM activities WHERE opportunity_id IS NOT NULL
  UNION ALL
  SELECT opportunity_id, changed_at FROM opportunity_changes
), worked AS (
  SELECT q.queue_id
  FROM previous_queue AS q
  JOIN signs AS n ON n.opportunity_id = q.opportunity_id AND n.seen_at >= q.as_of AND n.seen_at < $as_of
  UNION
  SELECT q.queue_id
  FROM previous_queue AS q
  JOIN feedback AS f ON f.queue_id = q.queue_id AND f.outcome = 'done' AND f.dealt_with_at >= q.as_of AND f.dealt_with_at < $as_of
)
SELECT q.owner_id, COUNT(*) AS queue_count, COUNT(w.queue_id) AS worked_count
FROM previous_queue AS q
LEFT JOIN worked AS w ON w.queue_id = q.queue_id
GROUP BY q.owner_id
