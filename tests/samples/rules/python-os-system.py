import os
from os import popen


def bad(name):
    os.system("mail " + name)  # found
    popen(f"mail {name}")  # found


def good():
    os.system("sync")
