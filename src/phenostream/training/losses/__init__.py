"""What is made small: one file a loss."""
