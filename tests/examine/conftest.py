"""The programs are run by the tests, not collected."""

collect_ignore_glob = ["programs/*", "run_programs.py"]
