"""One small adapter per tool. Building the command and reading the report are pure; `run` alone touches the machine."""
