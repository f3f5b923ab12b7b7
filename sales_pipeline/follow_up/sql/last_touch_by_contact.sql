-- One row per contact: our last contact with the person before as-of, whatever it was about.
SELECT
  contact_id,
  MAX(occurred_at) AS last_outbound_at
FROM activities
WHERE
  occurred_at < $as_of AND logged_at < $as_of AND kind IN ('call', 'email', 'meeting')
  AND COALESCE(direction, 'outbound') = 'outbound' AND contact_id IS NOT NULL AND occurred_at >= $since
GROUP BY contact_id
