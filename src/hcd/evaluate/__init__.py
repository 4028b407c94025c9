"""Benchmark protocol on pictures and folders, and plain against collaborative on one picture."""

from hcd.evaluate.comparison import Comparison, Figures, compare
from hcd.evaluate.measurement import Measurement, Row, benchmark_crop, measure
from hcd.evaluate.protocol import Report, evaluate_folder
from hcd.jsontext import json_text

__all__ = [
    "Comparison",
    "Figures",
    "Measurement",
    "Report",
    "Row",
    "benchmark_crop",
    "compare",
    "evaluate_folder",
    "json_text",
    "measure",
]
