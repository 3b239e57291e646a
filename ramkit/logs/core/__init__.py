"""The decisions: what a line says and what it hides."""
