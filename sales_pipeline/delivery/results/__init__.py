"""What targets answer: their result files read into DELIVERY_RESULTS, reconciled row by row."""
