-- Family planned: activities the CRM knew of strictly before the as-of that were still to come then. Those that have been done since are
-- taken from activities; the plans that remain alone would tell the past apart from the present. Most as-ofs have none.
WITH plans AS (
  SELECT opportunity_id, logged_at, due_at FROM planned_activities
  WHERE opportunity_id IS NOT NULL AND logged_at IS NOT NULL AND due_at IS NOT NULL
  UNION ALL
  SELECT opportunity_id, logged_at, occurred_at AS due_at FROM activities
  WHERE opportunity_id IS NOT NULL AND logged_at < occurred_at
), counted AS (
  SELECT s.opportunity_id, s.as_of, COUNT(*) AS plan_count, MIN(p.due_at) AS next_due_at
  FROM spine AS s
  JOIN plans AS p ON p.opportunity_id = s.opportunity_id AND p.logged_at < s.as_of AND p.due_at >= s.as_of
  GROUP BY s.opportunity_id, s.as_of
)
SELECT
  s.opportunity_id,
  s.as_of,
  COALESCE(c.plan_count, 0) AS planned_activity_count,
  days_between(instant_before(s.as_of), c.next_due_at) AS days_to_next_planned_activity
FROM spine AS s
LEFT JOIN counted AS c ON c.opportunity_id = s.opportunity_id AND c.as_of = s.as_of
