"""The publication's tables and figures measured again, on one page with every number in a CSV file."""

from hcd.report.config import FULL, QUICK, ReportConfig, Study, read_config
from hcd.report.datasets import KNOWN_SETS
from hcd.report.jobs import Job
from hcd.report.laboratory import Watcher
from hcd.report.printing import find_browser, print_page
from hcd.report.reproduce import Reproduction, reproduce

__all__ = [
    "FULL",
    "KNOWN_SETS",
    "QUICK",
    "Job",
    "ReportConfig",
    "Reproduction",
    "Study",
    "Watcher",
    "find_browser",
    "print_page",
    "read_config",
    "reproduce",
]
