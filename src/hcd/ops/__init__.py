"""Pure tensor functions: color, resizing, rounding, padding, noise, projections. No files, no networks."""

from hcd.ops.balls import BALL_GROUPS, NORMS, ball_norm, mean_ball_norm, project_ball, project_mean_ball
from hcd.ops.color import rgb_to_y
from hcd.ops.noise import gaussian_field
from hcd.ops.pad import pad_to_multiple
from hcd.ops.resize import resize_bicubic
from hcd.ops.rounding import GRAY_LEVEL, quantize, straight_through

__all__ = [
    "BALL_GROUPS",
    "GRAY_LEVEL",
    "NORMS",
    "ball_norm",
    "gaussian_field",
    "mean_ball_norm",
    "pad_to_multiple",
    "project_ball",
    "project_mean_ball",
    "quantize",
    "resize_bicubic",
    "rgb_to_y",
    "straight_through",
]
