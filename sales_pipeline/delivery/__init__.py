"""Apply: audit and publish: the files of a run, the one act that makes them visible, the quarantine for repair."""
