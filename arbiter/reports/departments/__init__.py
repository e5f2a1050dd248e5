"""Who asked, who was let through, who waits, and for whom: decisions of a period, counted as they stream by."""
