"""Studies, one file each: what is asked, in which grid, and how it is shown. No logic."""
