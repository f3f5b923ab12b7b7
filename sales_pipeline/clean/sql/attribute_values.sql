-- filled cells of unmapped columns, for the records that were kept, read in every way a column may turn out to be;
-- what is written like 2026-06-30 is no number, and every day begins with a digit
WITH cells AS (
  SELECT o.opportunity_id, r.attribute, COALESCE(s.value, clean_text(r.value)) AS text_value
  FROM raw_opportunity_attributes AS r
  JOIN opportunities AS o ON o.source_file = r.source_file AND o.source_record = r.source_record
  LEFT JOIN synonyms AS s ON s.attribute = r.attribute AND s.found = clean_text(r.value)
)
SELECT opportunity_id, attribute, text_value, LOWER(text_value) AS text_key,
  CASE WHEN text_value LIKE '____-__-__' THEN NULL
    WHEN NOT REGEXP_MATCHES(text_value, '\p{L}') OR is_plain_number(text_value, $decimal_sign)
    OR (REGEXP_MATCHES(text_value, '[0-9].*[万萬亿億元]\z') AND is_cjk_amount(bare_number(text_value))) THEN parse_number(text_value, $decimal_sign) END AS number_value,
  REGEXP_MATCHES(text_value, '^-?0[0-9]') AS has_leading_zero,
  CASE WHEN LENGTH(text_value) >= 8 AND text_value >= '0' AND text_value < ':' THEN parse_day(text_value, $date_order) END AS day_value,
  CASE LOWER(text_value) WHEN 'true' THEN 1 WHEN 'yes' THEN 1 WHEN 'y' THEN 1 WHEN 'false' THEN 0 WHEN 'no' THEN 0 WHEN 'n' THEN 0 END AS flag_value
FROM cells WHERE text_value IS NOT NULL
