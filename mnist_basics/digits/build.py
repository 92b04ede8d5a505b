"""Make the four .npy files beside this script out of MNIST's four IDX files.

python build.py FOLDER   # with train-images-idx3-ubyte.gz and its three companions in it
"""
import gzip
import sys
from pathlib import Path

import numpy as np

FILES = {  # name here → name there
    "train_x": "train-images-idx3-ubyte",
    "train_y": "train-labels-idx1-ubyte",
    "valid_x": "t10k-images-idx3-ubyte",
    "valid_y": "t10k-labels-idx1-ubyte",
}

if __name__ == "__main__":
    for ours, theirs in FILES.items():
        content = gzip.decompress((Path(sys.argv[1]) / f"{theirs}.gz").read_bytes())
        if ours.endswith("_x"):  # 16 bytes of header, then the pixels
            table = np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)
        else:  # 8 bytes of header, then the labels
            table = np.frombuffer(content, np.uint8, offset=8)
        np.save(Path(__file__).parent / f"{ours}.npy", table)
