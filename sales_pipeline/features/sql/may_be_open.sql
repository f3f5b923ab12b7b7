-- The opportunities that may be open at $as_of, some of them twice: those whose last change before it left them open, and those of which changes do not tell.
SELECT opportunity_id
FROM timeline
WHERE state = 'open' AND changed_at < $as_of AND (next_changed_at IS NULL OR $as_of <= next_changed_at)
UNION ALL
SELECT opportunity_id FROM current_facts WHERE NOT has_timeline
