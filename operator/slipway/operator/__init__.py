"""The operator: observes, plans, renders, applies and reports, for each LLMDeployment."""
