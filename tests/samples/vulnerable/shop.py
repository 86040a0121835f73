"""A small shop with faults that bandit knows. Never run."""

import hashlib
import pickle
import subprocess


def order(name):
    subprocess.call("mail " + name, shell=True)
    return pickle.loads(name)


def token(name):
    return hashlib.md5(name).hexdigest()
