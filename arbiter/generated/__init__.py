"""Generates the files under schemas/ and the reference pages under docs/."""
