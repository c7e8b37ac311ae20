//! nginx as a server: what it reads is what rules have to judge.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use forebay_e2e::wait::secs;
use forebay_e2e::wire::exchange;
use forebay_e2e::{Engine, Lab, Process, bin, config, eventually};

/// An nginx that serves `secret` under `/admin` and `public` elsewhere, and a service before it whose rule keeps
/// clients out of `/admin`.
struct Guarded {
    engine: Engine,
    _nginx: Process,
    behind: SocketAddr,
    at: SocketAddr,
    _lab: Lab,
}

fn guarded(keys: &str) -> Guarded {
    let lab = Lab::new();
    let (behind, at) = (lab.address(), lab.address());
    let text = format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off;\n\
         client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;\n\
         server {{ listen {behind};\nlocation / {{ return 200 public; }}\nlocation /admin {{ return 200 secret; }} }} }}\n"
    );
    std::fs::write(lab.folder().join("nginx.conf"), text).unwrap();
    let mut command = Command::new(bin::foreign("nginx", "nginx"));
    command.arg("-p").arg(lab.folder()).args(["-e", "stderr", "-c", "nginx.conf"]);
    let nginx = Process::start("nginx", command, lab.folder());
    eventually("nginx listens", secs(10), || TcpStream::connect(behind).is_ok());
    let text = format!(
        "[[virtual_service]]\nname = \"web\"\nlisten = [\"{at}\"]\npool = \"web\"\n{keys}\n\
         [[virtual_service.rules]]\nname = \"shut\"\nwhen = {{ path = {{ begins_with = [\"/admin\"] }} }}\n\
         then = [{{ respond = {{ status = 403 }} }}]\n"
    ) + &config::pool("web", "", &[behind]);
    Guarded { engine: lab.engine(&text), _nginx: nginx, behind, at, _lab: lab }
}

/// The status and the last line of what `to` answers.
fn ask(to: SocketAddr, target: &str) -> (u16, String) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let answer = exchange(to, request).unwrap();
    let status =
        answer.get(9..12).and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("{target}: {answer}"));
    let body = answer.rsplit("\r\n").next().unwrap_or_default();
    (status, body.to_owned())
}

//= test POL-PATH-01
//= test POL-PATH-03
#[test]
fn no_disguise_leads_past_a_rule_to_what_nginx_serves() {
    let scene = guarded("");
    assert_eq!(ask(scene.at, "/"), (200, "public".into()));
    for (target, status) in [
        ("/admin", 403),
        ("/x/../admin", 403),
        ("/%61dmin", 403),
        ("//admin/x", 403),
        ("/admin;v=1", 403),
        ("/%2fadmin", 400),
        ("/x%2f..%2fadmin", 400),
        ("/x/..%2Fadmin", 400),
        ("/.%2f/admin", 400),
        ("/x//../admin", 400),
    ] {
        assert_eq!(ask(scene.behind, target).1, "secret", "{target} is no disguise of /admin to nginx");
        assert_eq!(ask(scene.at, target).0, status, "{target}");
    }
    // Other servers read /admin here.
    for target in ["/x/..;/admin", "/x/..;v=1/admin", "/x%5c..%5cadmin"] {
        assert_eq!(ask(scene.at, target).0, 400, "{target}");
    }
    let lines = scene.engine.log_lines(1, |line| line["response_code"] == 400);
    let why = lines[0]["request_state"].as_str().unwrap_or_default();
    assert!(why.starts_with("servers could read the path differently"), "{why}");
}

//= test POL-PATH-04
#[test]
fn a_name_with_an_escaped_slash_passes_where_the_service_wants_it_and_no_disguise_does() {
    let scene = guarded("escaped_slashes = \"compare\"");
    assert_eq!(ask(scene.at, "/projects/group%2Fname"), (200, "public".into()));
    for (target, status) in [("/%2fadmin", 403), ("/x%2f..%2fadmin", 400), ("/x/..%2Fadmin", 400)] {
        assert_eq!(ask(scene.behind, target).1, "secret", "{target} is no disguise of /admin to nginx");
        assert_eq!(ask(scene.at, target).0, status, "{target}");
    }
}
