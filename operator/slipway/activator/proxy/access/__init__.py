"""Which requests are admitted at all: by the address that sends them, and by the API key that they show."""
