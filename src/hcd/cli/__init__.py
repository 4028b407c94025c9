"""The command line. Thin: parses, calls lower rooms, prints."""
