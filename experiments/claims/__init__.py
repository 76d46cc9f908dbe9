"""What the papers claim, as checks that a study runs over its results."""
