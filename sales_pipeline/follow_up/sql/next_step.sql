-- One row per open opportunity with a planned activity that counts as its next step: the earliest one.
WITH planned AS (
  SELECT
    p.opportunity_id,
    p.activity_id,
    p.due_at,
    ROW_NUMBER() OVER (
      PARTITION BY p.opportunity_id
      ORDER BY CASE WHEN p.due_at IS NULL THEN 1 ELSE 0 END, p.due_at, p.activity_id
    ) AS place
  FROM planned_activities AS p
  INNER JOIN open_opportunities AS o ON p.opportunity_id = o.opportunity_id
  WHERE
    -- a task made from our own queue is the follow-up itself, not another step
    p.queue_id IS NULL
    AND (p.logged_at IS NULL OR p.logged_at < $as_of)
    AND (p.due_at IS NULL OR (p.due_at >= $due_from AND p.due_at < $due_before))
)
SELECT opportunity_id, activity_id, due_at FROM planned WHERE place = 1
