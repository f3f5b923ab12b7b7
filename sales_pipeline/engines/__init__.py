"""The engine seam: SQL models compiled for one engine and run out of core. Only here are duckdb and pyspark imported."""
