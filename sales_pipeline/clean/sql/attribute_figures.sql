-- of each unmapped column, how many cells can be read in which way, and how many distinct values they hold, case aside
SELECT attribute, COUNT(DISTINCT text_key) AS levels, COUNT(number_value) AS numbers, COUNT(day_value) AS days, COUNT(flag_value) AS flags,
  COUNT(CASE WHEN has_leading_zero THEN 1 END) AS leading_zeros, COUNT(CASE WHEN number_value <> FLOOR(number_value) THEN 1 END) AS fractions
FROM attribute_values GROUP BY attribute ORDER BY attribute
