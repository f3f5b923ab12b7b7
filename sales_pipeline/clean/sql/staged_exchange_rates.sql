-- raw_exchange_rates, parsed: one row per record; a rate without a day holds from the first day on
WITH parsed AS (
  SELECT r.source_file, r.source_record, v.exported_at, UPPER(clean_text(r.currency)) AS currency,
    parse_day(r.valid_from, $date_order) AS day, trimmed(r.valid_from) AS valid_from_text,
    parse_number(r.rate, $decimal_sign) AS rate, trimmed(r.rate) AS rate_text
  FROM raw_exchange_rates AS r LEFT JOIN sightings AS v ON v.source_file = r.source_file
), judged AS (
  SELECT p.*, CASE WHEN day IS NULL AND valid_from_text IS NULL THEN CAST('1970-01-01' AS DATE) ELSE day END AS valid_from,
    CASE WHEN currency IS NULL OR (day IS NULL AND valid_from_text IS NOT NULL) THEN 'missing key' WHEN rate > 0 THEN NULL ELSE 'no value' END AS problem
  FROM parsed AS p
)
SELECT source_file, source_record, exported_at, currency, valid_from, rate, problem,
  CASE WHEN problem IS NULL THEN NULL WHEN currency IS NULL THEN 'currency' WHEN valid_from IS NULL THEN 'valid_from' ELSE 'rate' END AS problem_column,
  CASE WHEN problem IS NULL OR currency IS NULL THEN NULL WHEN valid_from IS NULL THEN valid_from_text ELSE rate_text END AS problem_value, CAST(1 AS BIGINT) AS version
FROM judged
