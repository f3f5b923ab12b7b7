"""Drivers of systems beside the pipeline, each behind a protocol of the library."""
