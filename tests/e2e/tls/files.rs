//! Files of certificates and keys that are no good.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use forebay_e2e::pki::{self, EC, RSA};
use forebay_e2e::{Engine, Lab, Origin, bin, config, origin};

//= test TLS-CHECK-02
//= test TLS-KEY-01
#[test]
fn what_check_says_of_files_names_the_line_the_reason_and_the_remedy() {
    let lab = Lab::new();
    let folder = lab.folder();
    pki::authority(folder, "ca");
    let names = ["good", "gone", "other", "old", "open", "swapped", "empty"];
    for name in names {
        let days = if name == "old" { -1 } else { 2 };
        pki::certificate(folder, name, "ca", EC, "DNS:app.test", days);
    }
    let at = |file: &str| folder.join(file);
    std::fs::remove_file(at("gone.pem")).expect("the folder");
    std::fs::copy(at("good.key"), at("other.key")).expect("the folder");
    std::fs::set_permissions(at("open.key"), PermissionsExt::from_mode(0o644)).expect("the folder");
    // What is written into a file leaves its mode.
    std::fs::write(at("swapped.key"), std::fs::read(at("swapped.pem")).expect("the folder"))
        .expect("the folder");
    std::fs::write(at("empty.pem"), "").expect("the folder");
    let list = names.map(|name| format!("\"{name}\"")).join(", ");
    let text = "version = 1\n".to_owned()
        + &config::service_with(
            "web",
            "127.0.0.1:1".parse().expect("an address"),
            &format!("certificates = [{list}]"),
        )
        + &config::pool("web", "", &["127.0.0.1:2".parse().expect("an address")])
        + &names.map(pki::section).concat();
    std::fs::write(at("se.toml"), &text).expect("the folder");
    let mut command = Command::new(bin::path("forebay-se"));
    let output = command.arg("check").arg("--config").arg(at("se.toml")).output().expect("it starts");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    let line = |file: &str| text.lines().position(|line| line.contains(file)).expect("it stands there") + 1;
    for (place, file, reason, fix) in [
        ("certificate[1].chain_file", "gone.pem", "there is no such file", "write its path"),
        ("certificate[2].key_file", "other.key", "it is not the key of the certificate in", "name the key"),
        ("certificate[4].key_file", "open.key", "everybody may read or write it (mode 0644)", "chmod o="),
        ("certificate[5].key_file", "swapped.key", "it holds no private key", "BEGIN PRIVATE KEY"),
        ("certificate[6].chain_file", "empty.pem", "it holds no certificate", "BEGIN CERTIFICATE"),
    ] {
        let told = said.lines().skip_while(|told| !told.contains(place)).take(2).collect::<String>();
        let number = line(file).to_string();
        assert!(told.contains(reason) && told.contains(fix) && told.contains(&number), "{number}: {told}");
    }
    assert!(!said.contains("certificate[0]"), "{said}");
}

//= test TLS-CHECK-05
#[test]
fn an_engine_starts_with_a_certificate_that_has_expired_and_puts_none_in_anothers_place() {
    let lab = Lab::new();
    let folder = lab.folder();
    pki::authority(folder, "ca");
    for (name, days) in [("over", -1), ("good", 2), ("late", -1)] {
        pki::certificate(folder, name, "ca", EC, "DNS:app.test", days);
    }
    let [at, server] = lab.addresses();
    let _server = Origin::fixed(server, origin::ok("one"));
    let document = |name: &str| {
        config::service_with("web", at, &format!("certificates = [\"{name}\"]"))
            + &config::pool("web", "", &[server])
            + &pki::section(name)
    };
    let engine = lab.engine(&document("over"));
    let shown = || pki::shown(at);
    assert!(shown().contains("over"), "{}", shown());
    let printed = engine.process.printed();
    assert!(printed.contains("CERTIFICATE_EXPIRED"), "{printed}");
    let check = |engine: &Engine| {
        let mut command = Command::new(bin::path("forebay-se"));
        let done = command.arg("check").arg("--config").arg(&engine.config).output().expect("it starts");
        (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let (is_good, said) = check(&engine);
    assert!(is_good && said.contains("warning: ") && said.contains("the certificate expired"), "{said}");
    engine.load(&document("good"));
    assert!(shown().contains("good"), "{}", shown());
    // What is good so far is not given up for it.
    engine.write(&document("late"));
    let refused = engine.reload().to_string();
    assert!(refused.contains("the certificate expired"), "{refused}");
    assert!(shown().contains("good"), "{}", shown());
}

//= test TLS-CHECK-04
#[test]
fn suites_that_go_with_no_key_of_a_service_are_refused_whatever_kind_they_are() {
    let lab = Lab::new();
    let folder = lab.folder();
    pki::authority(folder, "ca");
    for (name, kind) in [("curve", EC), ("old", RSA)] {
        pki::certificate(folder, name, "ca", kind, "DNS:app.test", 2);
    }
    let suites = ["ECDSA", "RSA"].map(|kind| format!("TLS_ECDHE_{kind}_WITH_AES_128_GCM_SHA256"));
    let check = |certificates: &str, suite: &str, versions: &str| {
        let keys = format!("certificates = [{certificates}]\ntls_profile = \"strict\"");
        let text = "version = 1\n".to_owned()
            + &config::service_with("web", "127.0.0.1:1".parse().expect("an address"), &keys)
            + &config::pool("web", "", &["127.0.0.1:2".parse().expect("an address")])
            + &["curve", "old"].map(pki::section).concat()
            + &format!(
                "[[tls_profile]]\nname = \"strict\"\n{versions}\ncipher_suites = [\"TLS_AES_128_GCM_SHA256\"{suite}]\n"
            );
        std::fs::write(folder.join("se.toml"), text).expect("the folder");
        let mut command = Command::new(bin::path("forebay-se"));
        let output =
            command.arg("check").arg("--config").arg(folder.join("se.toml")).output().expect("it starts");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let [for_curve, for_old] = suites.each_ref().map(|suite| format!(", \"{suite}\""));
    for (certificate, wrong, right, add) in
        [("curve", &for_old, &for_curve, "_ECDSA_"), ("old", &for_curve, &for_old, "_RSA_")]
    {
        let one = format!("\"{certificate}\"");
        let (is_good, said) = check(&one, wrong, "");
        assert!(!is_good && said.contains("virtual_service[0].tls_profile") && said.contains(add), "{said}");
        assert!(said.contains("add a suite with") && said.contains("min_version = \"1.3\""), "{said}");
        for (names, suite, versions) in [
            (one.as_str(), right.clone(), ""),
            ("\"curve\", \"old\"", wrong.clone(), ""),
            (one.as_str(), format!("{right}{wrong}"), ""),
            (one.as_str(), String::new(), "min_version = \"1.3\""),
        ] {
            let (is_good, said) = check(names, &suite, versions);
            assert!(is_good, "{names} {suite}: {said}");
        }
    }
}

#[test]
fn the_example_in_the_docs_is_right_with_the_certificate_that_it_tells_how_to_make() {
    const EXAMPLE: &str = include_str!("../../../docs/examples/tls.toml");
    let lab = Lab::new();
    let file = lab.folder().join("tls.toml");
    std::fs::write(&file, EXAMPLE).expect("the folder");
    let check = || {
        let mut command = Command::new(bin::path("forebay-se"));
        command.arg("check").arg("--config").arg(&file).output().expect("it starts")
    };
    assert_eq!(check().status.code(), Some(1), "its files are not there yet");
    let words = EXAMPLE.lines().find_map(|line| line.strip_prefix("# openssl ")).expect("the command");
    pki::openssl(lab.folder(), words);
    let done = check();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
