//! No byte of a private key is in what is said of it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use forebay_e2e::pki::{self, EC, RSA};
use forebay_e2e::wait::secs;
use forebay_e2e::{Lab, Options, bin, config};

/// Bytes of a key that are too many to stand somewhere by chance.
const PIECE: usize = 12;
/// Bytes from one piece that is looked for to the next.
const STRIDE: usize = 16;

/// A form of a key, and the characters that each piece of it has there.
struct Form {
    text: String,
    starts: Vec<usize>,
    len: usize,
}

/// Every form in which somebody might write a key.
fn forms(folder: &Path, key: &str) -> Vec<Form> {
    let text = std::fs::read_to_string(folder.join(key)).expect("a key");
    let base64: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    pki::openssl(folder, &format!("pkey -in {key} -outform DER -out {key}.der"));
    let der = std::fs::read(folder.join(format!("{key}.der"))).expect("a key");
    let listed = |each: &dyn Fn(&u8) -> String, between: &str| {
        let (mut text, mut starts) = (String::new(), Vec::new());
        for byte in &der {
            starts.push(text.len());
            text += &(each(byte) + between);
        }
        let len = PIECE * 2;
        starts.retain(|at| at + len <= text.len());
        let starts = starts.into_iter().step_by(STRIDE).collect();
        Form { text, starts, len }
    };
    let starts = (0..base64.len() - 20).step_by(STRIDE).collect();
    vec![
        Form { text: base64, starts, len: 20 },
        listed(&|byte| format!("{byte:02x}"), ""),
        listed(&|byte| format!("{byte:02X}"), ""),
        listed(&|byte| format!("{byte:02x}"), ":"),
        listed(&|byte| format!("{byte:02x}"), ", "),
        listed(&|byte| byte.to_string(), ", "),
        listed(&|byte| byte.to_string(), ","),
        listed(&|byte| byte.to_string(), " "),
        listed(&|byte| char::from(*byte).to_string(), ""),
    ]
}

fn is_shown(said: &str, forms: &[Form]) -> bool {
    let piece =
        |form: &'_ Form, at: usize| form.text.get(at..at + form.len).map(|piece| said.contains(piece));
    forms.iter().any(|form| form.starts.iter().any(|at| piece(form, *at) == Some(true)))
}

//= test TLS-KEY-03
#[test]
fn no_byte_of_a_key_is_said_or_logged_whether_it_is_good_or_not() {
    let lab = Lab::new();
    let folder = lab.folder();
    let at = |file: &str| folder.join(file);
    pki::authority(folder, "ca");
    let kinds =
        [("good", EC), ("rsa", RSA), ("open", EC), ("other", RSA), ("cut", EC), ("odd", RSA), ("own", EC)];
    for (name, kind) in kinds {
        pki::certificate(folder, name, "ca", kind, "DNS:app.test", 2);
    }
    let keys: Vec<Vec<Form>> = kinds.iter().map(|(name, _)| forms(folder, &format!("{name}.key"))).collect();
    let read = |file: &str| std::fs::read_to_string(at(file)).expect("the folder");
    // Keys that are no good: open to everybody, another certificate's, without an end, with other bytes within.
    std::fs::set_permissions(at("open.key"), PermissionsExt::from_mode(0o644)).expect("the folder");
    std::fs::write(at("other.key"), read("rsa.key")).expect("the folder");
    let cut = read("cut.key");
    std::fs::write(at("cut.key"), &cut[..cut.len() - 40]).expect("the folder");
    let odd = read("odd.key");
    std::fs::write(at("odd.key"), odd.replacen("PRIVATE KEY-----\nMII", "PRIVATE KEY-----\nAII", 1))
        .expect("the folder");
    // That a key is found where one is shown.
    for (n, shown) in [cut.as_str(), &odd].into_iter().enumerate() {
        assert!(is_shown(shown, &keys[4 + n]), "the text of a key");
    }
    assert!(
        is_shown(&format!("{:?}", std::fs::read(at("good.key.der")).expect("a key")), &keys[0]),
        "a list"
    );
    assert!(!is_shown(&read("good.pem"), &keys[1]), "something else");

    let [web, server] = lab.addresses();
    let document = |names: &[&str], monitors: &[(&str, &str)]| {
        let list = names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let probes = monitors.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let monitor = |(name, key): &(&str, &str)| {
            format!(
                "[[health_monitor]]\nname = \"{name}\"\ntype = \"https\"\nclient_certificate_file = \"own.pem\"\n\
                 client_key_file = \"{key}\"\n"
            )
        };
        config::service_with("web", web, &format!("certificates = [{list}]"))
            + &config::pool("web", &format!("health_monitors = [{probes}]"), &[server])
            + &names.iter().map(|name| pki::section(name)).collect::<String>()
            + &monitors.iter().map(monitor).collect::<String>()
    };
    let good = document(&["good", "rsa"], &[("m", "own.key")]);
    let bad = ["open", "other", "cut", "odd"];
    let bad_probes = [("m", "rsa.key"), ("n", "cut.key"), ("o", "odd.key")];
    let all_bad = document(&bad, &bad_probes);
    let mut said = String::new();
    for (text, is_good) in [(&good, true), (&all_bad, false)] {
        std::fs::write(at("se.toml"), format!("version = 1\n{text}")).expect("the folder");
        let mut check = Command::new(bin::path("forebay-se"));
        let done = check.arg("check").arg("--config").arg(at("se.toml")).output().expect("it starts");
        said += &(String::from_utf8_lossy(&done.stderr) + String::from_utf8_lossy(&done.stdout));
        assert_eq!(done.status.success(), is_good, "{said}");
    }
    for name in bad {
        assert!(said.contains(&format!("{name}.key")), "{name} is told of: {said}");
    }
    let options = Options { env: vec![("RUST_LOG".to_owned(), "trace".to_owned())], ..Options::default() };
    let mut engine = lab.engine_with(&good, options);
    for name in bad {
        engine.write(&document(&["good", name], &[("m", "own.key")]));
        let answer = engine.reload().to_string();
        assert!(answer.contains(&format!("{name}.key")), "{answer}");
        said += &answer;
    }
    engine.write(&good);
    // One that is no good any more, though the document is the same.
    std::fs::write(at("good.key"), read("cut.key")).expect("the folder");
    said += &engine.reload().to_string();
    assert!(engine.process.end(secs(20)).success());
    said += &engine.process.printed();
    for (forms, (name, _)) in keys.iter().zip(kinds) {
        assert!(!is_shown(&said, forms), "the key of {name} is shown:\n{said}");
    }
}
