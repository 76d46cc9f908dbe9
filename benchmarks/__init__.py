"""Speed, measured side by side as ratios in one run. Nothing here runs in the tests."""
