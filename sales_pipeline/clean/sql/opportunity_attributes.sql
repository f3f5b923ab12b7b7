-- one row per opportunity and filled unmapped column, typed by the whole column; whole numbers that hardly repeat are an identifier when all
-- have the same length or leading zeros, else a measure
WITH figures AS (
  SELECT attribute, COUNT(*) AS cells, COUNT(DISTINCT text_key) AS levels, COUNT(number_value) AS numbers, COUNT(day_value) AS days, COUNT(flag_value) AS flags,
    COUNT(CASE WHEN has_leading_zero THEN 1 END) AS leading_zeros, COUNT(CASE WHEN number_value <> FLOOR(number_value) THEN 1 END) AS fractions,
    MIN(LENGTH(text_value)) AS shortest, MAX(LENGTH(text_value)) AS longest,
    CAST(SUM(LENGTH(text_value)) AS DOUBLE) / NULLIF(COUNT(*), 0) AS mean_length
  FROM attribute_values GROUP BY attribute
), kinds AS (
  SELECT attribute, CASE
      WHEN flags = cells THEN 'boolean'
      WHEN days = cells THEN 'date'
      WHEN levels > $identifier_share * cells AND cells > $identifier_rows AND fractions = 0 AND (numbers < cells OR leading_zeros > 0 OR shortest = longest) AND mean_length <= $text_length THEN 'identifier'
      WHEN numbers = cells AND leading_zeros = 0 THEN 'number'
      WHEN mean_length > $text_length OR levels > $text_levels THEN 'text'
      ELSE 'category'
    END AS kind
  FROM figures
), spelled AS (
  SELECT attribute, text_key, text_value, COUNT(*) AS cells FROM attribute_values GROUP BY attribute, text_key, text_value
), several AS (
  SELECT attribute, text_key FROM spelled GROUP BY attribute, text_key HAVING COUNT(*) > 1
), ranked AS (
  SELECT s.attribute, s.text_key, s.text_value AS spelling, ROW_NUMBER() OVER (PARTITION BY s.attribute, s.text_key ORDER BY s.cells DESC, s.text_value) AS place
  FROM spelled AS s JOIN several AS m ON m.attribute = s.attribute AND m.text_key = s.text_key
)
SELECT $source_system AS source_system, v.opportunity_id, v.attribute, k.kind,
  CASE WHEN k.kind = 'category' THEN COALESCE(r.spelling, v.text_value) ELSE v.text_value END AS text_value,
  CASE k.kind WHEN 'number' THEN v.number_value WHEN 'boolean' THEN CAST(v.flag_value AS DOUBLE) WHEN 'date' THEN CAST(days_between(CAST('1970-01-01' AS DATE), v.day_value) AS DOUBLE) END AS number_value,
  t.tracked_from
FROM attribute_values AS v
JOIN kinds AS k ON k.attribute = v.attribute
LEFT JOIN ranked AS r ON r.attribute = v.attribute AND r.text_key = v.text_key AND r.place = 1
LEFT JOIN attribute_tracking AS t ON t.attribute = v.attribute
