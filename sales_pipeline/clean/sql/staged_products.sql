-- raw_products, parsed: one row per record
WITH parsed AS (
  SELECT r.source_file, r.source_record, v.exported_at,
    parse_id(r.product_id, $id_style) AS product_id_found, r.product_id AS product_id_text, clean_text(r.family) AS family_text,
    parse_amount(r.list_price, $decimal_sign) AS list_price, trimmed(r.list_price) AS list_price_text,
    parse_instant(r.modified_at, $date_order, $zone) AS modified_at, trimmed(r.modified_at) AS modified_at_text,
    COALESCE(parse_flag(r.is_deleted), FALSE) AS is_deleted
  FROM raw_products AS r LEFT JOIN sightings AS v ON v.source_file = r.source_file
), spelled AS (
  SELECT p.*, COALESCE(s2.value, p.product_id_found) AS product_id, COALESCE(s1.value, p.family_text) AS family,
    (s1.value IS NOT NULL OR s2.value IS NOT NULL) AS touched_spelling,
    CASE WHEN p.product_id_found IS NULL THEN 'missing key' END AS problem
  FROM parsed AS p
  LEFT JOIN spellings AS s1 ON s1.field = 'family' AND s1.found = p.family_text
  LEFT JOIN spellings AS s2 ON s2.field = 'product_id' AND s2.found = p.product_id_found
)
SELECT source_file, source_record, exported_at, product_id, family, list_price, modified_at, is_deleted,
  problem, 'product_id' AS problem_column, CAST(NULL AS VARCHAR) AS problem_value,
  CASE WHEN list_price IS NULL THEN list_price_text END AS bad_list_price,
  CASE WHEN modified_at IS NULL THEN modified_at_text END AS bad_modified_at,
  touched_spelling, product_id_found <> product_id_text AS touched_id, CAST(1 AS BIGINT) AS version
FROM spelled
