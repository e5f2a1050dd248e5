"""What generates the files under schemas/ and the generated pages under docs/."""
