-- one row per opportunity and filled unmapped column, typed by the whole column
SELECT $source_system AS source_system, v.opportunity_id, v.attribute, k.kind, COALESCE(s.spelling, v.text_value) AS text_value,
  CASE k.kind WHEN 'number' THEN v.number_value WHEN 'boolean' THEN CAST(v.flag_value AS DOUBLE) WHEN 'date' THEN CAST(days_between(CAST('1970-01-01' AS DATE), v.day_value) AS DOUBLE) END AS number_value,
  t.tracked_from
FROM attribute_values AS v
JOIN attribute_kinds AS k ON k.attribute = v.attribute
LEFT JOIN attribute_spellings AS s ON s.attribute = v.attribute AND s.found = v.text_value
LEFT JOIN attribute_tracking AS t ON t.attribute = v.attribute
