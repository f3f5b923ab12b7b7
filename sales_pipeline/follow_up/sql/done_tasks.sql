-- One row per done activity known before as-of that carries the id of one of our follow-ups.
SELECT queue_id, MAX(occurred_at) AS occurred_at
FROM activities
WHERE queue_id IS NOT NULL AND occurred_at < $as_of AND logged_at < $as_of
GROUP BY queue_id
ORDER BY queue_id
