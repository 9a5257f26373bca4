"""The loop: look at the cluster → decide → apply → report, for one LLMDeployment at a time; and the process around it.

Only here everything comes together. What is decided is pure (`deciding`); what is read comes from caches (`looking`);
what is written goes through one place each (`applying`, `reporting`).
"""
