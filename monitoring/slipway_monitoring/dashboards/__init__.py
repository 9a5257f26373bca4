"""Dashboards for Grafana: what they show is plain data; `building` makes Grafana's JSON of it."""

from slipway_monitoring.dashboards.cold_starts import COLD_STARTS
from slipway_monitoring.dashboards.cost import COST
from slipway_monitoring.dashboards.deployment import DEPLOYMENT
from slipway_monitoring.dashboards.fleet import FLEET
from slipway_monitoring.dashboards.own_programs import OWN_PROGRAMS

DASHBOARDS = (FLEET, DEPLOYMENT, COLD_STARTS, COST, OWN_PROGRAMS)
