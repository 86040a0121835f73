import subprocess


def bad(name):
    subprocess.run("mail " + name, shell=True)  # found
    subprocess.call(name, check=True, shell=True)  # found


def good(name):
    subprocess.run(["mail", name], check=True)
    subprocess.run("ls | wc", shell=True)
