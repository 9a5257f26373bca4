"""What commands print: tables for people and documents for programs."""
