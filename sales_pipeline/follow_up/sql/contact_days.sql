-- One row per owner, day (UTC) and kind on which the owner began contacts before as-of: how many.
SELECT
  owner_id,
  day_of(occurred_at) AS occurred_on,
  kind,
  COUNT(*) AS contact_count
FROM activities
WHERE
  occurred_at < $as_of AND logged_at < $as_of AND occurred_at >= $since
  AND kind IN ('call', 'email', 'meeting') AND COALESCE(direction, 'outbound') = 'outbound' AND owner_id IS NOT NULL
GROUP BY owner_id, day_of(occurred_at), kind
