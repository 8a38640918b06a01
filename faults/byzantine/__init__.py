"""What a corrupted replica does: one behaviour, one file."""
