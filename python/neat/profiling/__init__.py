"""What a configuration costs, before and while it runs."""
