"""The sections of the report, a module each: tables in, blocks out."""
