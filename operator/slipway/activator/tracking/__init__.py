"""What is known of each model: from the watches, and from what its pods answer themselves."""
