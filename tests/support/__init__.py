"""What the tests need to talk to a cluster; nothing in here knows what is being tested."""
