"""What the task `classify` is made of: sites of a pack with labels, splits that cannot leak, views, the network."""
