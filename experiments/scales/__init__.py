"""Scales, one file each: the data, generator, network and recipe that studies are asked with."""
