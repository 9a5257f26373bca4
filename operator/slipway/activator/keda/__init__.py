"""What KEDA is answered: the demand for each model, summed over all replicas of the activator."""
