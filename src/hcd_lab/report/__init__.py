"""Reproduce the publication's tables and figures on one page, with every number in a CSV file."""

from hcd_lab.report.config import FULL, QUICK, ReportConfig, Study, read_config
from hcd_lab.report.datasets import KNOWN_SETS
from hcd_lab.report.jobs import Job
from hcd_lab.report.reproduce import Reproduction, reproduce
from hcd_lab.report.session import Progress

__all__ = [
    "FULL",
    "KNOWN_SETS",
    "QUICK",
    "Job",
    "Progress",
    "ReportConfig",
    "Reproduction",
    "Study",
    "read_config",
    "reproduce",
]
