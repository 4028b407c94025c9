from .receiver import Receiver as Receiver
from .receiver import upscale_picture as upscale_picture
from .sender import Downscaled as Downscaled
from .sender import Encoded as Encoded
from .sender import downscale_picture as downscale_picture
from .sender import encode_downscaled as encode_downscaled
