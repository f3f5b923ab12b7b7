-- one row per currency and day from which the rate holds
SELECT s.currency, s.valid_from, s.rate, s.source_file, s.source_record
FROM staged_exchange_rates AS s
WHERE s.problem IS NULL AND s.version = 1
