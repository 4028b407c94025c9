"""Benchmarks: cost and gain on this machine, against the published scheme and a reference implementation."""

from hcd_lab.bench.benchmark_model import BenchmarkModel, describe_machine, parse_blocks, parse_size
from hcd_lab.bench.end_to_end import EndToEndBenchmark, bench_end_to_end
from hcd_lab.bench.evaluation import EvaluationBenchmark, bench_evaluation
from hcd_lab.bench.frontier import draw_frontier, figure_kind
from hcd_lab.bench.images import SAMPLES, BenchmarkImage, every_nth, folder_images, sample_images
from hcd_lab.bench.result import BenchResult
from hcd_lab.bench.solver import BASELINE, Method, bench_solver, parse_method

__all__ = [
    "BASELINE",
    "SAMPLES",
    "BenchResult",
    "BenchmarkImage",
    "BenchmarkModel",
    "EndToEndBenchmark",
    "EvaluationBenchmark",
    "Method",
    "bench_end_to_end",
    "bench_evaluation",
    "bench_solver",
    "describe_machine",
    "draw_frontier",
    "every_nth",
    "figure_kind",
    "folder_images",
    "parse_blocks",
    "parse_method",
    "parse_size",
    "sample_images",
]
