-- raw_quotas, parsed: one row per record. Where the export does not say when a period ends (Salesforce), periods are as long as the smallest step between
-- two starts: about a quarter or a year of months, else one month.
WITH parsed AS (
  SELECT r.source_file, r.source_record, v.exported_at, parse_id(r.owner_id, $id_style) AS owner_id,
    parse_day(r.period_start, $date_order) AS period_start, parse_day(r.period_end, $date_order) AS period_end, trimmed(r.period_end) AS period_end_text,
    parse_amount(r.amount, $decimal_sign) AS amount, trimmed(r.amount) AS amount_text, trimmed(r.period_start) AS period_start_text,
    UPPER(clean_text(r.currency)) AS currency_text
  FROM raw_quotas AS r LEFT JOIN sightings AS v ON v.source_file = r.source_file
), starts AS (
  SELECT period_start, LAG(period_start) OVER (ORDER BY period_start) AS previous_start
  FROM parsed WHERE period_start IS NOT NULL GROUP BY period_start
), steps AS (
  SELECT COALESCE(MIN(days_between(previous_start, period_start)), 0) AS step_days FROM starts
), ended AS (
  SELECT p.source_file, p.source_record, p.exported_at, p.owner_id, p.period_start, p.period_end_text, p.amount, p.amount_text, p.period_start_text, p.currency_text,
    CASE WHEN p.period_end_text IS NOT NULL THEN p.period_end
      WHEN s.step_days BETWEEN 80 AND 100 THEN CAST(p.period_start + INTERVAL '3' MONTH AS DATE)
      WHEN s.step_days > 300 THEN CAST(p.period_start + INTERVAL '12' MONTH AS DATE)
      ELSE CAST(p.period_start + INTERVAL '1' MONTH AS DATE) END AS period_end
  FROM parsed AS p CROSS JOIN steps AS s
), judged AS (
  SELECT p.*, CASE WHEN REGEXP_MATCHES(currency_text, '^[A-Z]{3}\z') THEN currency_text ELSE $currency END AS currency,
    CASE WHEN owner_id IS NULL OR period_start IS NULL THEN 'missing key' WHEN amount IS NULL OR period_end IS NULL OR period_end <= period_start THEN 'no value' END AS problem
  FROM ended AS p
)
SELECT source_file, source_record, exported_at, owner_id, period_start, period_end, amount, currency, problem,
  CASE WHEN problem IS NULL THEN NULL WHEN owner_id IS NULL THEN 'owner_id' WHEN period_start IS NULL THEN 'period_start' WHEN amount IS NULL THEN 'amount' ELSE 'period_end' END AS problem_column,
  CASE WHEN problem IS NULL OR owner_id IS NULL THEN NULL WHEN period_start IS NULL THEN period_start_text WHEN amount IS NULL THEN amount_text ELSE period_end_text END AS problem_value,
  CASE WHEN currency <> currency_text THEN currency_text END AS bad_currency, CAST(1 AS BIGINT) AS version
FROM judged
