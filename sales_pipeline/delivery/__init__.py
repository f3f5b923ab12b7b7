"""Apply: the files of a run, the one act that makes them visible, and their way to CRMs and databases and back (`deliver`)."""
