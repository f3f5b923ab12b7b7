-- one row per service case or survey answer
SELECT $source_system AS source_system, s.case_id, s.account_id, s.opened_at, s.closed_at, s.score, s.source_file, s.source_record
FROM staged_cases AS s
WHERE s.problem IS NULL AND s.version = 1
