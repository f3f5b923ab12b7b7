-- One row per owner and whole hours: turns of the customer in the window that we answered after so many hours, and those still waiting after so many.
-- A turn begins with a contact by the customer after one of ours, or the first; any call, e-mail or meeting of ours with the opportunity answers it.
-- Only opportunities whose customer was in touch within the window have turns in it: the others are not put in order.
WITH heard AS (
  SELECT opportunity_id
  FROM known_talks
  WHERE direction = 'inbound' AND occurred_at >= $inbound_from
  GROUP BY opportunity_id
), talks AS (
  SELECT
    a.opportunity_id,
    a.activity_id,
    a.occurred_at,
    a.direction = 'inbound' AS is_inbound,
    LAG(a.direction) OVER (PARTITION BY a.opportunity_id ORDER BY a.occurred_at, a.activity_id) AS previous_direction,
    MIN(CASE WHEN a.direction IS NULL OR a.direction <> 'inbound' THEN a.occurred_at END) OVER (
      PARTITION BY a.opportunity_id ORDER BY a.occurred_at, a.activity_id ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
    ) AS answered_at
  FROM known_talks AS a
  JOIN heard AS h ON h.opportunity_id = a.opportunity_id
), turns AS (
  SELECT
    s.owner_id,
    t.answered_at IS NOT NULL AS is_answered,
    hours_between(t.occurred_at, COALESCE(t.answered_at, $as_of - INTERVAL '1' MICROSECOND)) AS hours
  FROM talks AS t
  JOIN opportunity_states AS s ON s.opportunity_id = t.opportunity_id
  WHERE
    t.is_inbound AND (t.previous_direction IS NULL OR t.previous_direction <> 'inbound') AND t.occurred_at >= $inbound_from
    AND (s.is_won IS NULL OR t.answered_at IS NOT NULL)
)
SELECT
  owner_id,
  hours,
  COUNT(CASE WHEN is_answered THEN 1 END) AS ended_count,
  COUNT(CASE WHEN NOT is_answered THEN 1 END) AS going_count
FROM turns
GROUP BY owner_id, hours
