"""What runs on a host: the warden, its guardian and what they share. Standard library only (tests hold it to that)."""
