"""Pages that need nothing else: one HTML file, its style and charts in it, to be mailed, printed and read at night."""
