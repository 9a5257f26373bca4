"""The parts of `activator_path.py`: a backend, the activator's data path as a process, clients, and figures."""
