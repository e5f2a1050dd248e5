"""One partition: from fetched records to a commit and its publication."""
