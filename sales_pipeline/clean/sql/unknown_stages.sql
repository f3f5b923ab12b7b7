-- stages nobody knows, most frequent first
SELECT problem_value AS stage, COUNT(*) AS records FROM staged_opportunities WHERE problem = 'unknown stage' GROUP BY problem_value ORDER BY records DESC, stage
