"""What the tests share. Each folder says in its first lines what is in it; CONTRIBUTING.md has the map."""
