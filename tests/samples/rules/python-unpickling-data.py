import joblib
import numpy as np
import pandas as pd
import torch


def bad(file):
    joblib.load(file)  # found
    np.load(file, allow_pickle=True)  # found
    torch.load(file, weights_only=False)  # found
    return pd.read_pickle(file)  # found


def good(file):
    np.load(file)
    torch.load(file, weights_only=True)
    return pd.read_csv(file)
