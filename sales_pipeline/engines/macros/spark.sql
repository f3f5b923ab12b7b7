-- Overrides for Apache Spark; bodies are written in DuckDB's dialect as well, with Spark's functions where they differ.
CREATE MACRO latest(x, t) AS MAX_BY(x, t);
CREATE MACRO day_of(x) AS CAST(x AS DATE);
CREATE MACRO instant_before(x) AS x - INTERVAL '1' MICROSECOND;
CREATE MACRO days_before(x, n) AS TIMESTAMP_MICROS(UNIX_MICROS(x) - n * 86400000000);
CREATE MACRO usual_instant(x) AS TRY_CAST(CASE WHEN is_plain_instant(x) THEN x || 'Z' WHEN is_plain_day(x) THEN x || ' 00:00:00Z' END AS TIMESTAMPTZ);
