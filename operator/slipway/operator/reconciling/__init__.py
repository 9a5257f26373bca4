"""The loop: read a snapshot → decide → apply → report, for one LLMDeployment at a time; and the process around it.

Only here everything comes together. Decisions are pure (`deciding`); reads come from caches (`snapshots`); writes go
through one module each (`applying`, `reporting`).
"""
