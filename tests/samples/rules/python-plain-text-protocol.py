import ftplib


def bad(host):
    return ftplib.FTP(host)  # found


def good(host):
    return ftplib.FTP_TLS(host)
