"""What gradient evaluations, solvers and receivers cost on this machine, against plain implementations."""

from hcd_lab.bench.benchmark_model import parse_blocks, parse_size
from hcd_lab.bench.end_to_end import EndToEndBenchmark, EndToEndReport, EndToEndRow, bench_whole
from hcd_lab.bench.evaluation import EvaluationBenchmark, EvaluationReport, EvaluationRow, bench_evaluation
from hcd_lab.bench.frontier import draw_frontier, figure_kind
from hcd_lab.bench.pictures import BenchPicture, folder_pictures, sample_pictures
from hcd_lab.bench.solver import BASELINE, Method, SolverMean, SolverReport, SolverRow, bench_solver, parse_contestant

__all__ = [
    "BASELINE",
    "BenchPicture",
    "EndToEndBenchmark",
    "EndToEndReport",
    "EndToEndRow",
    "EvaluationBenchmark",
    "EvaluationReport",
    "EvaluationRow",
    "Method",
    "SolverMean",
    "SolverReport",
    "SolverRow",
    "bench_evaluation",
    "bench_solver",
    "bench_whole",
    "draw_frontier",
    "figure_kind",
    "folder_pictures",
    "parse_blocks",
    "parse_contestant",
    "parse_size",
    "sample_pictures",
]
