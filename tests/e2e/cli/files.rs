//! Files of many objects.

use crate::User;

const FILE: &str = "\
# A service of two servers.
vs:
- name: web
  services: [{port: 80}]
  pool_ref: web
  vsvip_ref: web
vip:
- name: web
  vip: [{vip_id: \"1\", ip_address: {addr: 10.1.0.1, type: V4}}]
Pool:
- name: web
  lb_algorithm: LB_ALGORITHM_ROUND_ROBIN
  application_persistence_profile_ref: web
  servers:
  - {ip: {addr: 10.0.0.2, type: V4}, port: 80}
  - {ip: {addr: 10.0.0.1, type: V4}, port: 80}
persistence:
- name: web
  persistence_type: PERSISTENCE_TYPE_HTTP_COOKIE
  http_cookie_persistence_profile: {cookie_name: stick, encryption_key: \"a: secret\"}
";

//= test CLI-APPLY-01
//= test CLI-APPLY-03
//= test CLI-EXPORT-01
#[test]
fn a_file_is_applied_compared_and_written_again_without_loss() {
    let user = User::at_home();
    user.fed(&["apply", "-f", "-"], "vs:\n- name: web\n  service: []\n")
        .says(2, "-:3: service: ")
        .says(2, "services");
    user.fed(&["diff", "-f", "-"], FILE).says(8, "+ lb_algorithm: ");
    user.fed(&["apply", "-f", "-", "--dry-run"], FILE).says(0, "pool web would be created");
    user.run(&["pool", "get", "web"]).says(3, "no pool");
    let done = user.fed(&["apply", "-f", "-"], FILE);
    done.says(0, "4 created, 0 changed");
    let order: Vec<&str> = done.out.lines().map(|line| line.split(' ').next().expect("a word")).collect();
    assert_eq!(order, ["applicationpersistenceprofile", "pool", "vsvip", "virtualservice"]);

    // What the file leaves out has its default; what it says wins over what somebody changed by hand.
    user.run(&["pool", "set", "web", "servers[1].ratio=7", "description=by hand"]).says(0, "changed");
    let without_secret = FILE.replace(", encryption_key: \"a: secret\"", "");
    let diff = user.fed(&["diff", "-f", "-"], &without_secret);
    diff.says(8, "- description: \"by hand\"").says(8, "- servers[1].ratio: 7");
    user.fed(&["apply", "-f", "-"], &without_secret).says(0, "0 created, 2 changed, 2 as they were");
    user.fed(&["apply", "-f", "-"], &without_secret).says(0, "0 created, 0 changed, 4 as they were");
    user.fed(&["diff", "-f", "-"], &without_secret).says(0, "");

    let before = user.run(&["export"]);
    for kind in ["pool:", "virtualservice:", "vsvip:", "applicationpersistenceprofile:"] {
        before.says(0, kind);
    }
    assert!(!before.out.contains("System-") && !before.out.contains("uuid"), "{}", before.out);
    for (kind, name) in [("vs", "web"), ("vip", "web"), ("pool", "web"), ("persistence", "web")] {
        user.run(&[kind, "delete", name]).says(0, "deleted");
    }
    user.run(&["export"]).says(0, "{}");
    user.fed(&["apply", "-f", "-"], &before.out).says(0, "4 created");
    assert_eq!(user.run(&["export"]).out, before.out);
    // The same as JSON.
    let json = user.run(&["export", "-o", "json"]).out;
    user.fed(&["apply", "-f", "-"], &json).says(0, "0 created, 0 changed, 4 as they were");
    // What somebody changed of what is there from the beginning goes along.
    user.run(&["seg", "set", "Default-Group", "max_vs_per_se=20"]).says(0, "changed");
    user.run(&["export", "seg"]).says(0, "max_vs_per_se: 20");
}
