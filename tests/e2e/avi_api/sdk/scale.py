"""The vendor's client in Python, unchanged, makes a service, scales it and moves it. A line of JSON for each case."""

import json
import sys
import time
import urllib.request
import warnings

from avi.sdk.avi_api import ApiSession

warnings.filterwarnings("ignore")

LOOK_EVERY = 0.1
PATIENCE = 60


def case(name, saw, wanted):
    print(json.dumps({"name": name, "ok": saw == wanted, "saw": repr(saw), "wanted": repr(wanted)}), flush=True)


def until(name, look, is_so):
    """Looks until it is so, and for what there was last."""
    end = time.monotonic() + PATIENCE
    saw = look()
    while not is_so(saw) and time.monotonic() < end:
        time.sleep(LOOK_EVERY)
        saw = look()
    case(name, (is_so(saw), None if is_so(saw) else saw), (True, None))
    return saw


def engines(api, service):
    """The engines that serve it, the primary first."""
    summary = api.get("virtualservice/%s/runtime" % service).json()["vip_summary"]
    listed = [engine for vip in summary for engine in vip["service_engine"]]
    serving = [engine for engine in listed if engine["oper_status"]["state"] == "OPER_UP" and engine["active_on_se"]]
    return [engine["uuid"] for engine in sorted(serving, key=lambda engine: not engine["primary"])]


def main():
    at, password, server, vip = sys.argv[1:5]
    host, port = at.split(":")
    api = ApiSession.get_session(host, "admin", password, port=port, api_version="30.2.1", verify=False)

    group = api.get_object_by_name("serviceenginegroup", "Default-Group")
    changed = api.put("serviceenginegroup/%s" % group["uuid"], data=dict(group, vs_scalein_timeout=1)).json()
    case("the group is changed", changed["vs_scalein_timeout"], 1)

    def ip(text):
        return {"addr": text.split(":")[0], "type": "V4"}

    servers = [{"ip": ip(server), "port": int(server.split(":")[1])}]
    pool = api.post("pool", data={"name": "scaled", "servers": servers}).json()
    address = api.post("vsvip", data={"name": "scaled", "vip": [{"vip_id": "1", "ip_address": ip(vip)}]}).json()
    service = {"name": "scaled", "vsvip_ref": address["url"], "pool_ref": pool["url"]}
    service["services"] = [{"port": int(vip.split(":")[1])}]
    service = api.post("virtualservice", data=service).json()
    path = "virtualservice/%s" % service["uuid"]

    def state():
        return api.get("%s/runtime" % path).json()["oper_status"]["state"]

    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def answers():
        try:
            return direct.open("http://%s/" % vip, timeout=5).status
        except OSError as error:
            return str(error)

    def asks(what, **more):
        answer = api.post("%s/%s" % (path, what), data=dict(more, vip_id="1"))
        case("%s is taken" % what, answer.status_code, 200)

    def done():
        status = api.get("%s/scaleoutstatus" % path).json()["vip_scaleout_status"][0]
        return status["scale_status"].get("action_success")

    until("it is up", state, lambda saw: saw == "OPER_UP")
    [first] = until("one engine has it", lambda: engines(api, service["uuid"]), lambda saw: len(saw) == 1)
    until("it answers", answers, lambda saw: saw == 200)

    known = [engine["uuid"] for engine in api.get("serviceengine").json()["results"]]
    [second] = [engine for engine in known if engine != first]
    asks("scaleout", to_se_ref="/api/serviceengine/%s" % second)
    until("two engines serve", lambda: engines(api, service["uuid"]), lambda saw: saw == [first, second])
    until("it was done", done, lambda saw: saw is True)
    until("it answers", answers, lambda saw: saw == 200)

    asks("scalein", from_se_ref="/api/serviceengine/%s" % second)
    until("one engine serves", lambda: engines(api, service["uuid"]), lambda saw: saw == [first])
    until("it was done", done, lambda saw: saw is True)

    asks("migrate", from_se_ref="/api/serviceengine/%s" % first, to_se_ref="/api/serviceengine/%s" % second)
    until("the other engine serves", lambda: engines(api, service["uuid"]), lambda saw: saw == [second])
    until("it was done", done, lambda saw: saw is True)
    until("it answers", answers, lambda saw: saw == 200)

    events = api.get("analytics/logs", params={"type": "2", "page_size": "200"}).json()["results"]
    told = {event["event_id"] for event in events if event.get("obj_uuid") == service["uuid"]}
    wanted = {"VS_SCALEOUT_COMPLETE", "VS_SCALEIN_COMPLETE", "VS_MIGRATE_COMPLETE"}
    case("it is told", sorted(wanted & told), sorted(wanted))
    for kind, held in [("virtualservice", service), ("vsvip", address), ("pool", pool)]:
        case("%s goes" % kind, api.delete("%s/%s" % (kind, held["uuid"])).status_code, 204)
    until("it answers no more", answers, lambda saw: saw != 200)


main()
