"""What the task `embed` is made of: single-cell crops, and the views of them."""
