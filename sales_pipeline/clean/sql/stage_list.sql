-- the stages the source lists, with the state their flags (or, failing those, a probability of all or nothing) say
WITH parsed AS (
  SELECT source_file, source_record, clean_text(stage) AS stage, clean_text(label) AS label, parse_flag(is_won) AS is_won, parse_flag(is_closed) AS is_closed,
    parse_number(REPLACE(probability, '%', ''), '.') AS probability
  FROM raw_stages
)
SELECT stage, label,
  CASE WHEN is_won THEN 'won' WHEN is_closed THEN CASE WHEN is_won IS NULL AND probability > 0 THEN 'won' ELSE 'lost' END
    WHEN NOT is_closed THEN 'open' WHEN is_won IS NULL AND probability IS NULL THEN NULL
    WHEN probability = 0 THEN 'lost' WHEN probability IN (1, 100) THEN 'won' ELSE 'open' END AS state
FROM parsed WHERE stage IS NOT NULL
ORDER BY source_file, source_record
