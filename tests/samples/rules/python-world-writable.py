import os
from pathlib import Path


def bad(name):
    os.chmod(name, 0o777)  # found
    os.makedirs(name, mode=0o773)  # found
    Path(name).chmod(0o666)  # found


def good(name):
    os.chmod(name, 0o640)
    os.makedirs(name, mode=0o755)
    Path(name).chmod(0o600)
