-- raw_opportunity_products, parsed: one row per record
WITH parsed AS (
  SELECT r.source_file, r.source_record, v.exported_at,
    parse_id(r.line_id, $id_style) AS line_id, parse_id(r.opportunity_id, $id_style) AS found_id, parse_id(r.product_id, $id_style) AS product_id_found,
    parse_number(r.quantity, $decimal_sign) AS quantity, trimmed(r.quantity) AS quantity_text,
    parse_amount(r.total_price, $decimal_sign) AS total_price, trimmed(r.total_price) AS total_price_text,
    parse_instant(r.created_at, $date_order, $zone) AS created_at, trimmed(r.created_at) AS created_at_text,
    parse_instant(r.modified_at, $date_order, $zone) AS modified_at, trimmed(r.modified_at) AS modified_at_text,
    COALESCE(parse_flag(r.is_deleted), FALSE) AS is_deleted
  FROM raw_opportunity_products AS r LEFT JOIN sightings AS v ON v.source_file = r.source_file
), placed AS (
  SELECT p.*, k.opportunity_id, COALESCE(s1.value, p.product_id_found) AS product_id, s1.value IS NOT NULL AS touched_spelling,
    CASE WHEN p.line_id IS NULL THEN 'missing key' WHEN p.is_deleted THEN 'deleted' WHEN k.opportunity_id IS NULL THEN 'orphan' END AS problem
  FROM parsed AS p
  LEFT JOIN opportunity_keys AS k ON k.found_id = p.found_id
  LEFT JOIN spellings AS s1 ON s1.field = 'product_id' AND s1.found = p.product_id_found
)
SELECT source_file, source_record, exported_at, line_id, opportunity_id, product_id, quantity, total_price, created_at, modified_at, problem,
  CASE problem WHEN 'missing key' THEN 'line_id' WHEN 'deleted' THEN 'is_deleted' ELSE 'opportunity_id' END AS problem_column,
  CASE WHEN problem = 'orphan' THEN found_id END AS problem_value,
  CASE WHEN quantity IS NULL THEN quantity_text END AS bad_quantity, CASE WHEN total_price IS NULL THEN total_price_text END AS bad_total_price,
  CASE WHEN created_at IS NULL THEN created_at_text END AS bad_created_at, CASE WHEN modified_at IS NULL THEN modified_at_text END AS bad_modified_at,
  touched_spelling, CAST(1 AS BIGINT) AS version
FROM placed
