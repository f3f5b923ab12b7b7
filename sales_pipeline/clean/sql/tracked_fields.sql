-- fields of which the field history shows changes, and how many
SELECT field, COUNT(*) AS changes FROM staged_field_history WHERE problem IS NULL AND version = 1 AND attribute IS NULL GROUP BY field ORDER BY field
