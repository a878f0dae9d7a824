"""
Run commands of speedrun as on a system without Linux's modules and calls; print their exit codes as JSON.

The standard library and numpy are imported first: on the other system, they have their own code for it.
"""

import asyncio
import contextlib
import http.client
import importlib.abc
import io
import json
import logging.handlers
import multiprocessing
import os
import platform
import selectors
import shutil
import signal
import ssl
import subprocess
import sys
import tarfile
import tempfile
import traceback
import urllib.request
import zipfile

import numpy as np
import scipy.stats

LOADED = (asyncio, http.client, logging, multiprocessing, selectors, shutil, ssl, subprocess, tarfile)
LOADED += (tempfile, traceback, urllib.request, zipfile, np, scipy.stats)
MODULES = ("fcntl", "grp", "posix", "pty", "pwd", "resource", "spwd", "syslog", "termios", "tty")
OS = (
    "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "chown", "fchmod", "fchown", "getegid", "geteuid",
    "getgid", "getgroups", "getloadavg", "getpgid", "getuid", "killpg", "lchown", "major", "mkfifo",
    "pidfd_open", "posix_fadvise", "pread", "pwrite", "sched_getaffinity", "sched_setaffinity", "sendfile",
    "setsid", "uname",
)  # fmt: skip
SIGNAL = ("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "pidfd_send_signal", "pthread_sigmask", "setitimer")


class Missing(importlib.abc.MetaPathFinder):
    """Finds none of `MODULES`."""

    def find_spec(self, name, path=None, target=None):
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def main(commands):
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, Missing())
    for module, names in ((os, OS), (signal, SIGNAL)):
        for name in names:
            delattr(module, name)
    platform.system, platform.machine = lambda: "Windows", lambda: "AMD64"
    shutil._use_fd_functions = False  # as on Windows; Python 3.13 would use O_NONBLOCK
    from kit.cli import run

    answers = []
    for argv in commands:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as err:
            code = run(argv)
        answers.append({"argv": argv, "exit": code, "err": err.getvalue()})
    sys.stdout.write(json.dumps(answers))


main(json.loads(sys.argv[1]))
