-- One row per owner, day (UTC) and kind on which the owner began contacts before as-of: how many.
SELECT
  owner_id,
  CAST(occurred_at AS DATE) AS occurred_on,
  kind,
  COUNT(*) AS contact_count
FROM activities
WHERE
  occurred_at < $as_of AND logged_at < $as_of AND occurred_at >= $since
  AND kind IN ('call', 'email', 'meeting') AND COALESCE(direction, 'outbound') = 'outbound' AND owner_id IS NOT NULL
GROUP BY owner_id, CAST(occurred_at AS DATE), kind
ORDER BY owner_id, occurred_on, kind
