-- Overrides for Apache Spark; bodies are written in DuckDB's dialect as well, with Spark's functions where they differ.
CREATE MACRO latest(x, t) AS MAX_BY(x, t);
