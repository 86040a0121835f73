"""OpsSight as in production, on a free port and a database of its own, for as long as standard input is open.

`python -m tests.browser.server PORT` migrates, seeds and says on standard output that it is ready. Then each line in is
[function of stage.py, positional arguments, named ones], and each line out its {"value"} or {"error"}. The log goes to
standard error.
"""

import json
import os
import sys
import threading
import traceback


def main(port: int) -> None:
    os.environ["OPSSIGHT_URL"] = f"http://localhost:{port}"
    os.environ["DJANGO_SETTINGS_MODULE"] = "opssight.settings.prod"

    from django.conf import settings
    from django.core.management import call_command
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

    from opssight.wsgi import application  # sets Django up
    from tests.browser import stage

    # Codes by message are offered on every database, and written to the log.
    settings.MESSAGE_CODES, settings.SMS_GATEWAY = ["sms", "email"], "console"
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    answers, sys.stdout = sys.stdout, sys.stderr  # what anything prints must not be taken for an answer
    call_command("migrate", interactive=False, verbosity=0)
    stage.seed()
    server = ThreadedWSGIServer(("127.0.0.1", port), WSGIRequestHandler)
    server.set_app(application)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        name, positional, named = json.loads(line)
        try:
            answer = {"value": getattr(stage, name)(*positional, **named)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
