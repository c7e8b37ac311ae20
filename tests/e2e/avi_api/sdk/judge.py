"""The vendor's client in Python, unchanged, does what its users do. A line of JSON for each case."""

import json
import sys
import warnings

from avi.sdk.avi_api import APIError, ApiSession, ObjectNotFound

warnings.filterwarnings("ignore")


def case(name, saw, wanted):
    print(json.dumps({"name": name, "ok": saw == wanted, "saw": repr(saw), "wanted": repr(wanted)}), flush=True)


def refused(call):
    """The status of a refusal and its text."""
    try:
        answer = call()
    except APIError as error:
        return getattr(error.rsp, "status_code", 0), str(error)
    return answer.status_code, answer.text


def pools(api):
    server = {"ip": {"addr": "10.0.0.1", "type": "V4"}, "port": 80}
    other = {"ip": {"addr": "10.0.0.2", "type": "V4"}, "port": 80}
    made = api.post("pool", data={"name": "web", "servers": [server], "ignore_servers": True})
    case("create", made.status_code, 201)
    pool = made.json()
    case("what was sent is there", pool["servers"][0]["ip"], server["ip"])
    case("addresses are absolute", pool["url"].startswith("https://") and pool["url"].endswith(pool["uuid"]), True)
    case("by name", api.get_object_by_name("pool", "web")["uuid"], pool["uuid"])
    case("by a name that there is not", api.get_object_by_name("pool", "none"), None)
    again = refused(lambda: api.post("pool", data={"name": "web"}))
    case("the same name again", (again[0], "already exists" in again[1]), (409, True))

    seen = api.get("pool/%s?include_name=true" % pool["uuid"]).json()
    case("names behind references", seen["tenant_ref"].endswith("#admin") and seen["url"].endswith("#web"), True)
    case("sent back as it was got", api.put("pool/%s" % pool["uuid"], data=seen).status_code, 200)
    stale = refused(lambda: api.put("pool/%s" % pool["uuid"], data=seen))
    case("sent back when it has changed", (stale[0], "Need to reload object data" in stale[1]), (412, True))

    patched = api.patch("pool/%s" % pool["uuid"], data={"add": {"servers": [server, other]}}).json()
    case("an entry that is there is not doubled", len(patched["servers"]), 2)
    patched = api.patch("pool/%s" % pool["uuid"], data={"delete": {"servers": [{"ip": server["ip"]}]}}).json()
    case("an entry goes", [held["ip"]["addr"] for held in patched["servers"]], ["10.0.0.2"])
    patched = api.patch("pool/%s" % pool["uuid"], data={"replace": {"default_server_port": 8080}}).json()
    case("a field is replaced", patched["default_server_port"], 8080)
    unknown = refused(lambda: api.patch("pool/%s" % pool["uuid"], data={"merge": {}}))
    case("an operation that there is not", unknown[0], 400)
    bare = api.get("pool/%s" % pool["uuid"], params={"skip_default": "true"}).json()
    case("defaults are left out", ("lb_algorithm" in bare, bare["default_server_port"]), (False, 8080))

    wrong = refused(lambda: api.post("pool", data={"name": "bad", "default_server_port": 0, "lb_algorithm": "x"}))
    case("what is wrong is told at once", (wrong[0], "default_server_port" in wrong[1], "lb_algorithm" in wrong[1]), (400, True, True))

    ref = api.get_obj_ref(pool)
    group = api.post("poolgroup", data={"name": "group", "members": [{"pool_ref": "/api/pool?name=web"}]}).json()
    case("a reference by name", group["members"][0]["pool_ref"], ref)
    in_use = refused(lambda: api.delete("pool/%s" % pool["uuid"]))
    case("in use", (in_use[0], "referred by: ['PoolGroup group']" in in_use[1]), (403, True))
    found = api.get("poolgroup", params={"refers_to": "pool:%s" % pool["uuid"]}).json()
    case("who refers to it", found["count"], 1)
    case("delete", (api.delete_by_name("poolgroup", "group").status_code, api.delete("pool/%s" % pool["uuid"]).status_code), (204, 204))
    try:
        gone = api.get("pool/%s" % pool["uuid"]).status_code
    except ObjectNotFound:
        gone = 404
    case("gone", gone, 404)


def metrics(api):
    pool = api.post("pool", data={"name": "counted"}).json()
    path = "analytics/metrics/pool/%s" % pool["uuid"]
    ids = "l4_server.avg_bandwidth,l7_server.avg_complete_responses"
    seen = api.get(path, params={"metric_id": ids, "step": 5, "limit": 12}).json()
    case("series", [series["header"]["name"] for series in seen["series"]], ids.split(","))
    case("points that nobody told of", [point["is_null"] for point in seen["series"][0]["data"]], [True] * 12)
    wanted = [{"id": "a", "entity_uuid": pool["uuid"], "metric_id": ids, "step": 300, "limit": 1, "pad_missing_data": False}]
    many = api.post("analytics/metrics/collection", data={"metric_requests": wanted}).json()
    case("a collection", [series["data"] for series in many["series"]["a"]], [[], []])
    odd = refused(lambda: api.get(path, params={"metric_id": "l4_server.avg_bandwith"}))
    case("a metric that there is not", (odd[0], "l4_server.avg_bandwidth" in odd[1]), (400, True))
    score = api.get("analytics/healthscore/pool/%s" % pool["uuid"]).json()["series"][0]["data"][0]
    case("a score", sorted(name for name in score if name.endswith("_score")), ["performance_score"])
    api.delete("pool/%s" % pool["uuid"])


def pages(api):
    for number in range(60):
        api.post("pool", data={"name": "page-%02d" % number})
    first = api.get("pool", params={"name.contains": "page-"}).json()
    case("a page and a count", (first["count"], len(first["results"]), "next" in first), (60, 25, True))
    names = [pool["name"] for pool in api.get_objects_iter("pool", params={"name.contains": "page-"})]
    case("all pages", names, ["page-%02d" % number for number in range(60)])
    few = api.get("pool", params={"name.in": "page-01,page-02", "fields": "enabled"}).json()["results"]
    case("some fields", [sorted(pool) for pool in few], [["enabled", "name", "url", "uuid"]] * 2)
    for name in names:
        api.delete_by_name("pool", name)
    case("none left", api.get("pool", params={"name.contains": "page-"}).json()["count"], 0)


def built_in(api):
    for kind, name in [
        ("tenant", "admin"), ("cloud", "Default-Cloud"), ("serviceenginegroup", "Default-Group"),
        ("vrfcontext", "global"), ("applicationprofile", "System-HTTP"), ("networkprofile", "System-TCP-Proxy"),
        ("healthmonitor", "System-TCP"), ("applicationpersistenceprofile", "System-Persistence-Client-IP"),
        ("sslprofile", "System-Standard"), ("sslkeyandcertificate", "System-Default-Cert"), ("role", "System-Admin"),
    ]:
        held = api.get_object_by_name(kind, name)
        case("%s %s is there" % (kind, name), held is not None and held["name"], name)
        kept = refused(lambda: api.delete("%s/%s" % (kind, held["uuid"])))
        case("%s %s stays" % (kind, name), (kept[0], "annot delete" in kept[1]), (403, True))
    cluster = api.get("cluster").json()
    case("there is one cluster, and it is no list", (cluster["name"], "results" in cluster), ("cluster-0-1", False))
    case("by name as well", api.get_object_by_name("cluster", "cluster-0-1")["uuid"], cluster["uuid"])


def sessions(at, password):
    wrong = refused(lambda: ApiSession(at, "admin", "no" + password, verify=False))
    case("a wrong password", (wrong[0], "Invalid credentials" in wrong[1]), (401, True))
    api = ApiSession(at, "admin", password, verify=False)
    api.get("pool")
    # A session that has ended elsewhere: the client comes in again by itself.
    api.cookies.clear()
    case("comes in again by itself", api.get("pool").status_code, 200)
    api.delete_session()
    newer = refused(lambda: ApiSession(at, "admin", password, api_version="99.1.1", verify=False).get("pool"))
    case("a version of the future", (newer[0], "Invalid version" in newer[1]), (400, True))


def lives(api, kinds):
    """Each kind of object is made, read, changed and deleted, with what it needs."""
    made = {}

    def make(kind):
        if kind not in made:
            if kind in EXISTING:
                made[kind] = api.get(kind).json()["results"][0]
            else:
                made[kind] = api.post(kind, data=filled(kinds[kind])).json()
                order.append(kind)
        return made[kind]

    def filled(value):
        if isinstance(value, dict):
            return {name: filled(held) for name, held in value.items()}
        if isinstance(value, list):
            return [filled(held) for held in value]
        if isinstance(value, str) and value.startswith("/api/"):
            return make(value.split("/")[2])["url"]
        return value

    order = []
    for kind in sorted(kinds):
        try:
            held = make(kind)
            path = "%s/%s" % (kind, held["uuid"])
            seen = api.get(path, params={"include_name": "true"}).json()
            put = api.put(path, data=seen).json()
            put.pop("_last_modified", None), held.pop("_last_modified", None)
            # A change of what was got, sent back whole.
            changed = dict(api.get(path).json(), description="changed by PUT")
            if "name" in changed and kind not in EXISTING:
                changed["name"] = "%s-changed" % changed["name"]
            answer = api.put(path, data=changed).json()
            after = api.get(path).json()
            for one in (changed, answer, after):
                one.pop("_last_modified", None)
            case("%s is changed" % kind, (answer, after), (changed, changed))
            patch = api.patch(path, data={"replace": {"description": "seen"}}).json()
            listed = api.get(kind, params={"uuid": held["uuid"]}).json()["count"]
            case("%s lives" % kind, (put == held, patch["description"], listed), (True, "seen", 1))
        except (APIError, KeyError, IndexError) as error:
            case("%s lives" % kind, str(error), "a life")
    for kind in reversed(order):
        case("%s dies" % kind, refused(lambda: api.delete("%s/%s" % (kind, made[kind]["uuid"])))[0], 204)


def tenants(at, api, password):
    """A tenant and a cloud are made, changed and deleted, and a session is one of the tenant's."""
    host, port = at.split(":")
    tenant = api.post("tenant", data={"name": "blue", "local": True}).json()
    case("a tenant by name", api.get_object_by_name("tenant", "blue")["uuid"], tenant["uuid"])
    changed = api.put("tenant/%s" % tenant["uuid"], data=dict(tenant, description="of the sea")).json()
    case("a tenant is changed", changed["description"], "of the sea")
    cloud = api.post("cloud", data={"name": "lab", "vtype": "CLOUD_NONE"}).json()
    changed = api.put("cloud/%s" % cloud["uuid"], data=dict(cloud, name="lab-2", description="of glass")).json()
    case("a cloud is changed", (changed["name"], changed["description"]), ("lab-2", "of glass"))
    there = api.post("pool", data={"name": "there", "cloud_ref": cloud["url"]}).json()
    case("a pool is in it", there["cloud_ref"], cloud["url"])
    case("a cloud in use", refused(lambda: api.delete("cloud/%s" % cloud["uuid"]))[0], 403)
    api.delete("pool/%s" % there["uuid"])
    case("a cloud goes", api.delete("cloud/%s" % cloud["uuid"]).status_code, 204)
    case("it is gone", api.get_object_by_name("cloud", "lab-2"), None)

    blue = ApiSession.get_session(host, "admin", password, tenant="blue", port=port, verify=False)
    pool = blue.post("pool", data={"name": "of the sea"}).json()
    case("what is made is the tenant's", pool["tenant_ref"], tenant["url"])
    case("it sees it", blue.get_object_by_name("pool", "of the sea")["uuid"], pool["uuid"])
    case("another one does not", api.get_object_by_name("pool", "of the sea"), None)
    case("but as that tenant", api.get_object_by_name("pool", "of the sea", tenant="blue")["uuid"], pool["uuid"])
    everywhere = api.get("pool", tenant="*", params={"name": "of the sea"}).json()
    case("and as all of them", [held["uuid"] for held in everywhere["results"]], [pool["uuid"]])
    again = api.post("pool", data={"name": "of the sea"})
    case("a name is the tenant's own", again.status_code, 201)
    case("a tenant in use", refused(lambda: api.delete("tenant/%s" % tenant["uuid"]))[0], 403)
    case("deleted by its tenant", blue.delete("pool/%s" % pool["uuid"]).status_code, 204)
    api.delete("pool/%s" % again.json()["uuid"])
    case("a tenant goes", api.delete("tenant/%s" % tenant["uuid"]).status_code, 204)
    case("nobody asks as it", refused(lambda: api.get("pool", tenant="blue"))[0], 403)


EXISTING = {"tenant", "cloud"}


def main():
    at, password, kinds = sys.argv[1], sys.argv[2], json.load(sys.stdin)
    host, port = at.split(":")
    api = ApiSession.get_session(host, "admin", password, port=port, api_version="30.2.1", verify=False)
    built_in(api)
    pools(api)
    metrics(api)
    pages(api)
    lives(api, kinds)
    tenants(at, api, password)
    sessions(at, password)


main()
