-- opportunities deleted in the CRM, or absent from a later full extract: the first export instant that shows it
WITH seen AS (
  SELECT opportunity_id, MAX(exported_at) AS last_seen_at,
    MAX(CASE WHEN NOT is_deleted THEN exported_at END) AS last_alive_at
  FROM staged_opportunities WHERE problem IS NULL GROUP BY opportunity_id
), deleted AS (
  SELECT s.opportunity_id, MIN(s.exported_at) AS removed_at
  FROM staged_opportunities AS s
  JOIN staged_opportunities AS w ON w.opportunity_id = s.opportunity_id AND w.version = 1 AND w.problem IS NULL AND w.is_deleted
  JOIN seen AS l ON l.opportunity_id = s.opportunity_id AND (l.last_alive_at IS NULL OR s.exported_at >= l.last_alive_at)
  WHERE s.problem IS NULL AND s.is_deleted GROUP BY s.opportunity_id
), absent AS (
  SELECT s.opportunity_id, MIN(e.exported_at) AS removed_at
  FROM seen AS s JOIN full_extracts AS e ON e.exported_at > s.last_seen_at GROUP BY s.opportunity_id
)
SELECT s.opportunity_id, LEAST(d.removed_at, a.removed_at) AS removed_at, d.removed_at IS NULL AS is_absent
FROM seen AS s
LEFT JOIN deleted AS d ON d.opportunity_id = s.opportunity_id
LEFT JOIN absent AS a ON a.opportunity_id = s.opportunity_id
WHERE d.removed_at IS NOT NULL OR a.removed_at IS NOT NULL
