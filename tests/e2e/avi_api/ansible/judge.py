"""The modules for Avi, unchanged, lead each kind of object through its life. A line of JSON for each case.

Each is called as Ansible calls it, by its own entry with its arguments, in one process: `ansible-playbook` takes a second
for each call. Arguments: the Controller's address, a token, `long` or `short`, and a file that has, for each kind, the
least object and fields that may be changed.
"""

import contextlib
import functools
import importlib
import io
import json
import os
import re
import sys

import yaml
from ansible.module_utils import basic

# Whether check mode is tried as well: it asks for nothing that the steps themselves do not ask for.
LONG = sys.argv[3] == "long"
PLUGINS = "ansible_collections.community.network.plugins"
# What a module takes besides an object's fields.
CALL = {"state", "avi_api_update_method", "avi_api_patch_op", "url", "uuid", "obj_username", "obj_password"}
# Arguments of releases before ours: the published model of 30.2.1 has no such fields.
GONE = json.load(open(os.path.join(os.path.dirname(__file__), "gone.json")))
# Kinds with a secret among their fields: their modules report a change each time, as they cannot compare it.
BLIND = {"sslkeyandcertificate": {"key"}, "user": {"obj_password"}}

# The module's own patches look for an argument that it does not take.
UNPATCHED = {"gslb"}
# Kinds whose modules demand an argument whose field is gone: with it a request is refused, without it the module refuses.
UNUSABLE = {"certificatemanagementprofile": "script_path"}
# Kinds with nothing to change: all that their modules take besides a name has to be there from the beginning, or refers to
# an object and is not guessed.
FIXED = {"clusterclouddetails", "hardwaresecuritymodulegroup"}


def case(name, saw, wanted):
    print(json.dumps({"name": name, "ok": saw == wanted, "saw": repr(saw)[:600], "wanted": repr(wanted)}), flush=True)


def call(module, arguments, check=False):
    """What a module answers; each call comes in anew, as one of another process would."""
    api = importlib.import_module(PLUGINS + ".module_utils.network.avi.avi_api")
    api.sessionDict.clear()
    arguments = dict(arguments, avi_credentials=AT, _ansible_check_mode=check)
    basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
    basic._ANSIBLE_PROFILE = "legacy"
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        module.main()
    return json.loads(said.getvalue().strip().splitlines()[-1])


def outcome(answer):
    """Whether it changed something, or why it failed."""
    return answer["msg"] if answer.get("failed") else answer["changed"]


@functools.cache
def takes(module):
    """The arguments that a module documents."""
    return yaml.load(module.DOCUMENTATION, getattr(yaml, "CSafeLoader", yaml.SafeLoader))["options"]


def modules():
    """The modules that stand for a kind of objects, by that kind."""
    folder = os.path.join(os.path.dirname(importlib.import_module(PLUGINS + ".modules.avi_pool").__file__))
    for name in sorted(os.listdir(folder)):
        text = open(os.path.join(folder, name)).read() if re.fullmatch(r"avi_\w+\.py", name) else ""
        kind = re.search(r"avi_ansible_api\(module, '(\w+)'", text)
        if kind:
            module = importlib.import_module(PLUGINS + ".modules." + name[:-3])
            yield kind.group(1), module, set(takes(module))


class Lives:
    def __init__(self, kinds):
        self.kinds = kinds
        self.modules = {kind: (module, options) for kind, module, options in modules()}
        self.made = {}

    def filled(self, value):
        """With the objects that are referred to, which are made where they are not there."""
        if isinstance(value, dict):
            return {name: self.filled(held) for name, held in value.items()}
        if isinstance(value, list):
            return [self.filled(held) for held in value]
        if isinstance(value, str) and value.startswith("/api/"):
            kind = value.split("/")[2]
            name = {"tenant": "admin", "cloud": "Default-Cloud"}.get(kind)
            return "/api/%s?name=%s" % (kind, name or self.dependency(kind))
        return value

    def dependency(self, kind):
        if kind not in self.made:
            self.made[kind] = self.arguments(kind, "needed")
            call(self.modules[kind][0], self.made[kind])
        return self.made[kind]["name"]

    def arguments(self, kind, name):
        module, known = self.modules[kind]
        least = dict(self.kinds[kind]["least"])
        # Some modules demand what has a default.
        for field, option in takes(module).items():
            if option.get("required") and field not in least and field in self.kinds[kind]["whole"]:
                least[field] = self.kinds[kind]["whole"][field]
        arguments = {field: self.filled(value) for field, value in least.items()}
        if kind == "user":
            arguments.update(obj_username=name, obj_password="a long pass phrase")
            arguments.pop("username", None), arguments.pop("password", None)
        if "name" in known:
            arguments["name"] = name
        else:
            # Without a name its user has to say which one is meant.
            arguments["uuid"] = "%s-%s" % (kind, name)
        return arguments

    def change(self, kind):
        """Two values for a field that the module knows."""
        known = self.modules[kind][1] - CALL
        for field, one, other in self.kinds[kind]["changes"]:
            if field in known and field not in self.kinds[kind]["least"]:
                return field, one, other
        return None

    def live(self, kind):
        module, known = self.modules[kind]
        held = self.arguments(kind, "life")
        key = {name: held[name] for name in ("name", "uuid", "obj_username", "obj_password") if name in held}
        change = self.change(kind)
        case("%s has nothing to change" % kind, change is None, kind in FIXED)
        blind = bool(BLIND.get(kind, set()) & set(held))
        steps = [
            ("would be made", held, {"check": True}, True),
            ("is made", held, {}, True),
            ("is there", held, {}, blind),
        ]
        if change:
            field, one, other = change
            patch = {"avi_api_update_method": "patch", "avi_api_patch_op": "replace"}
            steps += [
                ("would be changed", dict(held, **{field: one}), {"check": True}, True),
                ("is changed", dict(held, **{field: one}), {}, True),
                ("is as it was made", dict(held, **{field: one}), {}, blind),
                ("is patched", dict(held, **{field: other}, **patch), {}, True),
            ]
        steps += [
            ("would go", dict(key, state="absent", **needed(module, held)), {"check": True}, True),
            ("goes", dict(key, state="absent", **needed(module, held)), {}, True),
            ("is gone", dict(key, state="absent", **needed(module, held)), {}, False),
        ]
        for what, arguments, options, wanted in steps:
            if what == "is patched" and kind in UNPATCHED or options.get("check") and not LONG:
                continue
            case("%s %s" % (kind, what), outcome(call(module, arguments, **options)), wanted)

    def single(self, kind):
        """Of some kinds there is just one object, which is there."""
        module, known = self.modules[kind]
        name = {"name": "cluster-0-1"} if "name" in known else {}
        field, one, other = self.change(kind)
        for what, value, options, wanted in [
            ("is one", one, {}, True), ("is one still", one, {}, False), ("would be other", other, {"check": True}, True),
            ("is other", other, {}, True),
        ]:
            if LONG or not options.get("check"):
                case("%s %s" % (kind, what), outcome(call(module, dict(name, **{field: value}), **options)), wanted)

    def unusable(self, kind):
        """It cannot make an object, with what it demands or without: the day it can, this is red."""
        (module, known), gone = self.modules[kind], UNUSABLE[kind]
        held = self.arguments(kind, "life")
        taken = {field: value for field, value in held.items() if field in known}
        case("%s without it" % kind, outcome(call(module, taken)), "missing required arguments: " + gone)
        said = outcome(call(module, dict(taken, **{gone: "one"})))
        case("%s with it" % kind, re.match(r"Error 400 Msg [^}]*%s" % gone, str(said)) and "refused" or said, "refused")


def needed(module, held):
    """What a module demands even where an object is to go."""
    options = takes(module)
    return {name: held[name] for name, option in options.items() if option.get("required") and name in held}


def fields(lives):
    """Each argument of a module is a field, or one that has gone."""
    for kind, (module, known) in sorted(lives.modules.items()):
        there = set(lives.kinds.get(kind, {}).get("fields", []))
        if there:
            case("%s: fields" % kind, sorted(known - there - CALL - set(GONE.get(kind, []))), [])


def main():
    global AT
    host, port = sys.argv[1].split(":")
    said = json.load(open(sys.argv[4]))
    AT = {"controller": host, "port": int(port), "username": "admin", "token": sys.argv[2], "api_version": "20.1.1"}
    lives = Lives(said)
    fields(lives)
    case("kinds that there are not", set(lives.modules) - set(said), set())
    for kind in sorted(set(lives.modules) & set(said)):
        try:
            if kind in UNUSABLE:
                lives.unusable(kind)
            else:
                lives.single(kind) if said[kind]["single"] else lives.live(kind)
        except Exception as error:  # A module that breaks is a case that failed, and not the end.
            case("%s lives" % kind, "%s: %s" % (type(error).__name__, error), "a life")
    version = importlib.import_module(PLUGINS + ".modules.avi_api_version")
    case("the version", call(version, {}).get("obj", {}).get("version"), "30.2.1")


main()
