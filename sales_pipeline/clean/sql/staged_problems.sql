-- verdicts of a staged table by reason
SELECT problem, version > 1 AS is_duplicate, COUNT(*) AS records FROM staged GROUP BY problem, version > 1
