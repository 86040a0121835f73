import json
import pickle


def bad(data, file):
    pickle.load(file)  # found
    return pickle.loads(data)  # found


def good(data):
    pickle.dumps(data)
    return json.loads(data)
