//! testssl looks at services of the engine, offline.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use forebay_e2e::{Demo, Engine, Lab, Options, bin, config, long_or, pki};
use serde_json::Value;

/// What it looks at: protocols, forward secrecy, what the server shows, fields of answers, known attacks.
const LOOKS: &[&str] = &["-p", "-f", "-S", "-h", "-U"];
/// And, in the long form, orders, categories and each of 370 cipher suites, and how clients of the past fare.
const ALL_LOOKS: &[&str] = &["-p", "-s", "-f", "-P", "-S", "-h", "-U", "-E", "-c"];

/// Seconds between two looks of it, whatever it says itself.
const LOOK_EVERY_S: &str = "0.03";
/// How often it looks before it gives up.
const LOOKS_MAX: &str = "400";

/// Each is a finding. `WARN` says that it could not look, which what is demanded beside shows.
const FINDINGS: &[&str] = &["LOW", "MEDIUM", "HIGH", "CRITICAL", "FATAL"];

/// The attacks by name that it must have looked for, and found none.
const ATTACKS: &[&str] = &[
    "heartbleed",
    "CCS",
    "ticketbleed",
    "ROBOT",
    "secure_renego",
    "secure_client_renego",
    "CRIME_TLS",
    "BREACH",
    "POODLE_SSL",
    "fallback_SCSV",
    "FREAK",
    "DROWN",
    "LOGJAM",
    "BEAST",
    "LUCKY13",
    "RC4",
];

/// What an operator lets a service say with each answer.
const HEADERS: &str = r#"
[[virtual_service.rules]]
name = "careful"
then = [
  { header = { set = ["response", "Strict-Transport-Security", "max-age=31536000"] } },
  { header = { set = ["response", "X-Content-Type-Options", "nosniff"] } },
  { header = { set = ["response", "Content-Security-Policy", "default-src 'self'"] } },
]
"#;

/// Three services before one server: `web` as it is by default, `new` with TLS 1.3 only, `bare` without the fields above.
struct Scene {
    at: [SocketAddr; 3],
    _engine: Engine,
    _server: Demo,
    lab: Lab,
}

fn scene() -> Scene {
    let lab = Lab::new();
    certificates(&lab);
    wrappers(&lab);
    let server = lab.demo("a");
    let at = lab.addresses();
    let service = |name: &str, at: SocketAddr, keys: &str| {
        let keys = format!("certificates = [\"app\", \"rsa\"]\n{keys}");
        config::service_with(name, at, &keys) + &config::pool(name, "", &[server.address])
    };
    let text = service("web", at[0], HEADERS)
        + &service("new", at[1], &format!("tls_profile = \"new\"\n{HEADERS}"))
        + &service("bare", at[2], "")
        + "[[tls_profile]]\nname = \"new\"\nmin_version = \"1.3\"\n"
        + &pki::section("app")
        + &pki::section("rsa");
    let engine = lab.engine_with(&text, Options { workers: 1, ..Options::default() });
    Scene { at, _engine: engine, _server: server, lab }
}

/// Programs in front of the system's own. It sleeps a second between two looks; here less, and looks as much more often.
/// And it asks for the name `invalid.` to learn what openssl can do, which takes as long as a resolver likes.
fn wrappers(lab: &Lab) {
    let openssl = bin::foreign("openssl", "openssl");
    let openssl = openssl.display();
    let asks = format!(
        "#!/bin/sh\ncase \"$*\" in\n*\"-connect invalid.\"*) exec {openssl} $(echo \"$*\" | sed 's/invalid\\./127.0.0.1:1/') ;;\n\
         esac\nexec {openssl} \"$@\"\n"
    );
    for (name, script) in
        [("sleep", format!("#!/bin/sh\nexec /bin/sleep {LOOK_EVERY_S}\n")), ("openssl", asks)]
    {
        let program = lab.folder().join(name);
        std::fs::write(&program, script).expect("the folder");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("its own file");
    }
}

/// An authority and certificates that nothing is wrong with: good for long enough, and they say where to ask whether they
/// still are (which nobody does here).
fn certificates(lab: &Lab) {
    let folder = lab.folder();
    let words = format!("req -x509 {} -nodes -keyout ca.key -out ca.pem -days 800 -subj /CN=ca", pki::EC);
    pki::openssl(folder, &words);
    for (name, kind) in [("app", pki::EC), ("rsa", pki::RSA)] {
        let words = format!("req {kind} -nodes -keyout {name}.key -out {name}.csr -subj /CN=app.test");
        pki::openssl(folder, &words);
        let usage = "subjectAltName=DNS:app.test\ncrlDistributionPoints=URI:http://ca.test/ca.crl\n\
                     keyUsage=digitalSignature\nextendedKeyUsage=serverAuth\n";
        std::fs::write(folder.join(format!("{name}.ext")), usage).expect("the folder");
        let words = format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 300 -extfile {name}.ext -out {name}.pem"
        );
        pki::openssl(folder, &words);
    }
}

impl Scene {
    /// What it says of a service, by looks.
    fn told(&self, service: usize, looks: &[&str]) -> Vec<Value> {
        let file = format!("testssl-{service}.json");
        let mut command = Command::new(bin::foreign("testssl", "testssl.sh"));
        command.args(["--quiet", "--color", "0", "--warnings", "batch", "--nodns", "none"]);
        command.args(["--ip", &self.at[service].ip().to_string(), "--add-ca", "ca.pem", "--jsonfile", &file]);
        command.args(looks).arg(format!("app.test:{}", self.at[service].port()));
        let path = format!("{}:{}", self.lab.folder().display(), std::env::var("PATH").expect("a path"));
        command
            .env("PATH", path)
            .env("OPENSSL", self.lab.folder().join("openssl"))
            .env("USLEEP_SND", LOOK_EVERY_S);
        for limit in ["MAX_WAITSOCK", "HEARTBLEED_MAX_WAITSOCK", "CCS_MAX_WAITSOCK"] {
            command.env(limit, LOOKS_MAX);
        }
        let out = command.current_dir(self.lab.folder()).output().expect("testssl starts");
        let text = std::fs::read_to_string(self.lab.folder().join(file));
        let text = text.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stdout)));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }
}

fn findings(told: &[Value]) -> Vec<String> {
    let bad = told.iter().filter(|one| FINDINGS.iter().any(|word| one["severity"] == *word));
    bad.map(Value::to_string).collect()
}

#[track_caller]
fn are_well(told: &[Value], ids: &[&str]) {
    for id in ids {
        // A service with two certificates has what belongs to each twice, with a word behind.
        let of = |one: &&Value| one["id"].as_str().is_some_and(|is| is.split(' ').next() == Some(id));
        let looked: Vec<&Value> = told.iter().filter(of).collect();
        assert!(!looked.is_empty(), "{id}: it did not look");
        assert!(looked.iter().all(|one| one["severity"] == "OK"), "{looked:?}");
    }
}

//= test TLS-PROFILE-01
#[test]
fn testssl_finds_nothing() {
    let scene = scene();
    let (web, new) = std::thread::scope(|threads| {
        let web = threads.spawn(|| scene.told(0, long_or(ALL_LOOKS, LOOKS)));
        let new = scene.told(1, long_or(ALL_LOOKS, &["-p", "-f"]));
        (web.join().expect("it has looked"), new)
    });
    println!("testssl: {} looks, and {} with TLS 1.3 only", web.len(), new.len());
    assert_eq!(findings(&web), Vec::<String>::new());
    assert_eq!(findings(&new), Vec::<String>::new());
    are_well(&web, &["SSLv2", "SSLv3", "TLS1_2", "TLS1_3", "PFS", "cert_trust", "cert_chain_of_trust"]);
    are_well(&web, ATTACKS);
    are_well(&new, &["SSLv2", "SSLv3", "TLS1_3", "PFS"]);
    let offered = |told: &[Value]| told.iter().any(|one| one["id"] == "TLS1_2" && one["severity"] == "OK");
    assert!(offered(&web) && !offered(&new), "TLS 1.2 is for the first service only");
    // That it can find fault at all: nothing is said of what a browser should be careful with.
    let bare = findings(&scene.told(2, &["-h"]));
    assert!(bare.iter().any(|one| one.contains("HSTS")), "{bare:?}");
}
