-- One row per owner: activities with what is open, known in the window before the as-of. Those known long before it are not looked at.
SELECT s.owner_id, COUNT(*) AS activity_count
FROM later_activities AS a
JOIN scored_opportunities AS s ON s.opportunity_id = a.opportunity_id
WHERE GREATEST(a.occurred_at, a.logged_at) >= $active_from AND GREATEST(a.occurred_at, a.logged_at) < $as_of
GROUP BY s.owner_id
