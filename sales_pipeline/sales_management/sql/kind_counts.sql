-- One row per kind of record known before the as-of
SELECT kind, COUNT(*) AS row_count
FROM opportunity_states
GROUP BY kind
