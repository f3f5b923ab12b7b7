"""Import kits: from a published run and what was delivered before to files a person or a channel imports."""
