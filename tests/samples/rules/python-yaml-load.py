import yaml


def bad(text):
    yaml.load(text, Loader=yaml.Loader)  # found
    yaml.load(text, yaml.UnsafeLoader)  # found
    return yaml.unsafe_load(text)  # found


def good(text):
    yaml.load(text, Loader=yaml.SafeLoader)
    yaml.load(text, yaml.CSafeLoader)
    return yaml.safe_load(text)
