-- One row per opportunity and week at whose start it was open; weeks are counted back from $as_of, the row that starts at it included.
-- `week_starts` holds the state strictly before each start (a spine on a weekly grid). Of the week itself the contacts are counted, each at the
-- later of when it happened and when the CRM knew of it; whatever came at or after $as_of is not seen. No direction: ours.
WITH contacts_known AS (
  SELECT opportunity_id, kind, COALESCE(direction, 'outbound') AS direction, GREATEST(occurred_at, logged_at) AS known_at
  FROM activities
  WHERE opportunity_id IS NOT NULL AND kind IN ('call', 'email', 'meeting')
), counted AS (
  SELECT
    w.opportunity_id,
    w.as_of,
    COUNT(CASE WHEN k.direction = 'inbound' THEN 1 END) AS inbound_count,
    COUNT(CASE WHEN k.direction = 'outbound' AND k.kind = 'call' THEN 1 END) AS call_count,
    COUNT(CASE WHEN k.direction = 'outbound' AND k.kind = 'email' THEN 1 END) AS email_count,
    COUNT(CASE WHEN k.direction = 'outbound' AND k.kind = 'meeting' THEN 1 END) AS meeting_count
  FROM week_starts AS w
  LEFT JOIN contacts_known AS k
    ON k.opportunity_id = w.opportunity_id
    AND k.known_at >= w.as_of
    AND k.known_at < w.as_of + INTERVAL '7' DAY
    AND k.known_at < $as_of
  GROUP BY w.opportunity_id, w.as_of
)
SELECT
  w.opportunity_id,
  w.as_of,
  w.kind,
  w.account_id,
  w.owner_id,
  w.stage,
  w.created_at,
  o.lead_source,
  a.industry,
  a.employees,
  c.inbound_count,
  c.call_count,
  c.email_count,
  c.meeting_count,
  r.is_won,
  r.closed_at
FROM week_starts AS w
JOIN counted AS c ON c.opportunity_id = w.opportunity_id AND c.as_of = w.as_of
LEFT JOIN opportunities AS o ON o.opportunity_id = w.opportunity_id
LEFT JOIN accounts AS a ON a.account_id = w.account_id
LEFT JOIN outcomes AS r ON r.opportunity_id = w.opportunity_id
