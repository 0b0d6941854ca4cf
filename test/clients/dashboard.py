"""Horizon's own code for metadata definitions (openstack_dashboard.api.glance), driven without a browser.

Each line of standard input is a JSON object {"call": name, "args": […], "kwargs": {…}}: a function of that module, whose
first argument, the request, is ours. The answer is one JSON line {"value": …} or {"status": …, "error": text}. The
service's address, a token and the size of pages are in the environment: IMAGE_URL, TOKEN, PAGE_SIZE.
"""

import collections.abc
import importlib
import json
import os
import sys
import types

import django
import django.conf

DEFAULTS = ("horizon.defaults", "openstack_auth.defaults", "openstack_dashboard.defaults")
defaults = {
    name: value
    for module in map(importlib.import_module, DEFAULTS)
    for name, value in vars(module).items()
    if name.isupper()
}
no_exceptions = {"unauthorized": (), "not_found": (), "recoverable": ()}
own = {
    "API_RESULT_PAGE_SIZE": int(os.environ["PAGE_SIZE"]),
    "HORIZON_CONFIG": {"exceptions": no_exceptions},
    "INSTALLED_APPS": ["django.contrib.contenttypes", "django.contrib.auth"],
}
django.conf.settings.configure(**{**defaults, **own})
django.setup()

from openstack_dashboard.api import glance  # noqa: E402


class Request:
    """As much of Django's request as Horizon's calls of Glance look at."""

    def __init__(self):
        url = os.environ["IMAGE_URL"]
        endpoint = {"interface": "public", "region": "RegionOne", "region_id": "RegionOne", "url": url}
        self.user = types.SimpleNamespace(
            token=types.SimpleNamespace(id=os.environ["TOKEN"]),
            service_catalog=[{"type": "image", "name": "glance", "endpoints": [endpoint]}],
            services_region="RegionOne",
        )
        self.session = {}
        self.COOKIES = {}


def plain(value):
    """What a call gave, as JSON has it."""
    if isinstance(value, glance.BaseGlanceMetadefAPIResourceWrapper):
        return json.loads(value.as_json())
    if isinstance(value, collections.abc.Mapping):
        return {key: plain(member) for key, member in value.items()}
    if isinstance(value, (list, tuple, types.GeneratorType, filter)):
        return [plain(member) for member in value]
    if isinstance(value, collections.abc.Iterable) and not isinstance(value, str):
        return [plain(member) for member in value]
    return value


def answer(call, args=(), kwargs=None):
    try:
        return {"value": plain(getattr(glance, call)(Request(), *args, **(kwargs or {})))}
    except Exception as error:
        return {"status": getattr(error, "code", None), "error": f"{type(error).__name__}: {error}"}


for line in sys.stdin:
    print(json.dumps(answer(**json.loads(line))), flush=True)
