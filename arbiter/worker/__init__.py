"""A worker process: it owns partitions, decides their records, commits and publishes."""
