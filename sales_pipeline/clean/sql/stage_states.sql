-- how many opportunities of each stage are in which state
SELECT stage_key, state, COUNT(*) AS records
FROM staged_opportunities
WHERE problem IS NULL AND version = 1 AND stage_key IS NOT NULL
GROUP BY stage_key, state
ORDER BY stage_key, state
