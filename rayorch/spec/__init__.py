"""What a user asked for, as frozen and validated values."""
