"""Runs stock OpenStack commands without starting Python anew for each.

Loading the clients takes a second or more, and the suite has hundreds of commands. So they are loaded once,
and each command runs in a fork of this process, alone with its own state, as if it had just been started.

Each line of standard input is a JSON object {"argv": ["openstack", …], "env": {…}, "stdin": text or null};
the answer is one JSON line {"code", "stdout", "stderr"}. The commands themselves are Debian's, untouched.
"""

import json
import os
import pty
import sys
import tempfile
import traceback

import glanceclient.shell
import glanceclient.v2.client
import glanceclient.v2.shell
import keystoneauth1.identity.generic
import keystoneclient.v3.client
import openstack.connection
import openstackclient.image.v2.image
import openstackclient.shell
import requests

PROGRAMS = {"openstack": openstackclient.shell.main, "glance": glanceclient.shell.main}


def run(argv):
    """What the console script of that name does, down to the exit code."""
    sys.argv = argv
    try:
        sys.exit(PROGRAMS[argv[0]]())
    except SystemExit as leaving:
        if leaving.code is None or isinstance(leaving.code, int):
            return leaving.code or 0
        print(leaving.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 70


def become(request, stdin, stdout, stderr):
    """Makes this process the command: its streams, its environment, its end."""
    for number, stream in enumerate((stdin, stdout, stderr)):
        os.dup2(stream, number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")
    os.environ.update(request.get("env") or {})
    code = run(request["argv"])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def answer(request):
    text = request.get("stdin")
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write((text or "").encode())
        stdin.seek(0)
        # Without input the command sees a terminal where nobody types; a file would be read as image data.
        terminal = pty.openpty() if text is None else ()
        child = os.fork()
        if child == 0:
            stream = terminal[1] if terminal else stdin.fileno()
            become(request, stream, stdout.fileno(), stderr.fileno())
        _, status = os.waitpid(child, 0)
        for descriptor in terminal:
            os.close(descriptor)
        stdout.seek(0)
        stderr.seek(0)
        return {
            "code": os.waitstatus_to_exitcode(status),
            "stdout": stdout.read().decode("utf-8", "replace"),
            "stderr": stderr.read().decode("utf-8", "replace"),
        }


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
