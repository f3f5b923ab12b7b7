"""What a target is known to hold of ours, and how results move it."""
