"""Recipes of the papers' synthetic data sets, one file each; scales name them."""
