"""The words of the field as values: identifiers, time, stages, money. No tables, no files, no settings."""
