-- Family product: the product's family and list price, and its record strictly before the as-of.
SELECT
  s.opportunity_id,
  s.as_of,
  s.product_id AS product,
  p.family AS product_family,
  CAST(p.list_price AS DOUBLE) AS product_list_price,
  shrunken(r.won_count, r.closed_count, a.win_rate, $product_prior_weight) AS product_win_rate
FROM spine AS s
LEFT JOIN product_counts AS r ON r.product_id = s.product_id AND r.as_of = s.as_of
LEFT JOIN overall_record AS a ON a.as_of = s.as_of
LEFT JOIN products AS p ON p.product_id = s.product_id
