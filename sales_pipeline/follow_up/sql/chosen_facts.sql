-- The facts of the opportunities in `chosen`.
SELECT f.*
FROM current_facts AS f
JOIN chosen AS c ON c.opportunity_id = f.opportunity_id
