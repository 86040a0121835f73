import pdb


def bad():
    breakpoint()  # found
    pdb.set_trace()  # found


def good(debugger):
    debugger.breakpoint()
