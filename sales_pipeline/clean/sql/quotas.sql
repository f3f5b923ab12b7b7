-- one row per owner and period
SELECT $source_system AS source_system, s.owner_id, s.period_start, s.period_end, s.amount, s.currency, s.source_file, s.source_record
FROM staged_quotas AS s
WHERE s.problem IS NULL AND s.version = 1
