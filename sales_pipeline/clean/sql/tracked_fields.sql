-- fields of which the field history shows at least one change
SELECT field FROM staged_field_history WHERE problem IS NULL AND version = 1 AND attribute IS NULL GROUP BY field ORDER BY field
