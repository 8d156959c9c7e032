"""Measurements of hpsearch."""
