"""From a listing to files on the disk: in ranges, on several connections, continued after a break, and verified."""
