"""The only input and output with the API server, and what keeps the loop running; it knows nothing of models.

kopf watches (`watching`), the official client does all else (`client`). Between them: a cache (`store`), a queue
(`queue`), the election of one leader (`lease`), and what the outside may ask (`health`, `metrics`).
"""
