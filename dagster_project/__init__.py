"""The application: the library wrapped in Dagster, and the command line. Computes nothing itself."""
