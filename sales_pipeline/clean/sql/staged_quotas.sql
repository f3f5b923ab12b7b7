-- raw_quotas, parsed: one row per record
WITH parsed AS (
  SELECT r.source_file, r.source_record, r.exported_at, parse_id(r.owner_id, $id_style) AS owner_id,
    parse_day(r.period_start, $date_order) AS period_start, parse_day(r.period_end, $date_order) AS period_end, trimmed(r.period_end) AS period_end_text,
    parse_amount(r.amount, $decimal_sign) AS amount, trimmed(r.amount) AS amount_text, trimmed(r.period_start) AS period_start_text,
    UPPER(clean_text(r.currency)) AS currency_text
  FROM raw_quotas AS r
), judged AS (
  SELECT p.*, CASE WHEN REGEXP_MATCHES(currency_text, '^[A-Z]{3}$') THEN currency_text ELSE $currency END AS currency,
    CASE WHEN owner_id IS NULL OR period_start IS NULL THEN 'missing key' WHEN amount IS NULL OR period_end IS NULL OR period_end <= period_start THEN 'no value' END AS problem
  FROM parsed AS p
)
SELECT source_file, source_record, exported_at, owner_id, period_start, period_end, amount, currency, problem,
  CASE WHEN problem IS NULL THEN NULL WHEN owner_id IS NULL THEN 'owner_id' WHEN period_start IS NULL THEN 'period_start' WHEN amount IS NULL THEN 'amount' ELSE 'period_end' END AS problem_column,
  CASE WHEN problem IS NULL OR owner_id IS NULL THEN NULL WHEN period_start IS NULL THEN period_start_text WHEN amount IS NULL THEN amount_text ELSE period_end_text END AS problem_value,
  CASE WHEN currency <> currency_text THEN currency_text END AS bad_currency,
  ROW_NUMBER() OVER same_key AS version, FIRST_VALUE(source_file) OVER same_key AS kept_file, FIRST_VALUE(source_record) OVER same_key AS kept_record
FROM judged
WINDOW same_key AS (PARTITION BY owner_id, period_start, problem ORDER BY exported_at DESC, source_record DESC, source_file DESC)
