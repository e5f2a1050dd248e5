"""Self-contained HTML pages: one file with its style and charts, to be mailed, printed and read on any screen."""
