"""`kubectl llm`: plans, watches and diagnoses language models, with and without a cluster."""
