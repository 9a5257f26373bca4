"""A cluster, through kubectl: what it has of a model, what is wrong with it, and changes of it."""
