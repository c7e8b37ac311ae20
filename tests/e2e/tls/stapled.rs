//! What authorities say of certificates, shown with them.

use std::path::Path;

use forebay_e2e::pki::{self, EC};
use forebay_e2e::{Lab, Options, config};

use crate::{app, s_client};

/// What the authority `ca` says of a certificate, as `NAME.ocsp`, good for an hour from now on.
fn answer(folder: &Path, name: &str, revoked: bool) {
    let serial = pki::openssl(folder, &format!("x509 -in {name}.pem -noout -serial"));
    let serial = serial.trim().strip_prefix("serial=").expect("a number");
    let kind = if revoked { "R" } else { "V" };
    let when = if revoked { "260101000000Z" } else { "" };
    std::fs::write(
        folder.join("index"),
        format!("{kind}\t491231235959Z\t{when}\t{serial}\tunknown\t/CN={name}\n"),
    )
    .expect("the folder");
    pki::openssl(folder, &format!("ocsp -issuer ca.pem -cert {name}.pem -no_nonce -reqout {name}.req"));
    let file = format!("{name}.ocsp");
    let words = format!(
        "ocsp -index index -rsigner ca.pem -rkey ca.key -CA ca.pem -reqin {name}.req -nmin 60 -respout {file}"
    );
    pki::openssl(folder, &words);
}

//= test TLS-OCSP-01
//= test TLS-OCSP-02
#[test]
fn what_the_authority_says_is_shown_as_long_as_it_is_good_and_read_again() {
    let lab = Lab::new();
    app(&lab);
    let folder = lab.folder();
    pki::certificate(folder, "other", "ca", EC, "DNS:other.test", 2);
    answer(folder, "app", false);
    answer(folder, "other", false);
    let at = lab.address();
    let server = lab.demo("a");
    let text = config::service_with("web", at, "certificates = [\"app\"]")
        + &config::pool("web", "", &[server.address])
        + &pki::section("app")
        + "ocsp_file = \"app.ocsp\"\n";
    let engine = lab.engine_with(&text, Options { workers: 1, ..Options::default() });
    let shown = |version: &str| s_client(&lab, at, &format!("-{version} -status -servername app.test"));
    let good =
        |said: &str| said.contains("OCSP Response Status: successful") && said.contains("Cert Status: good");
    for version in ["tls1_2", "tls1_3"] {
        let said = shown(version);
        assert!(good(&said), "{version}: {said}");
    }
    let labels = [("virtual_service", "web"), ("certificate", "app")];
    assert!(engine.metric("forebay_tls_ocsp_next_update_seconds", &labels) > 1.7e9);
    // Nobody asked for it anew in time: the certificate is shown without, and that is told.
    let mut old = std::fs::read(folder.join("app.ocsp")).expect("made");
    let next = old.windows(4).rposition(|bytes| bytes == [0xa0, 0x11, 0x18, 0x0f]).expect("a time") + 4;
    old[next..next + 15].copy_from_slice(b"20260101000000Z");
    std::fs::write(folder.join("app.ocsp"), old).expect("the folder");
    assert_eq!(engine.reload()["data"]["outcome"], "loaded");
    assert!(engine.process.printed().contains("OCSP_TOO_OLD"));
    let said = shown("tls1_3");
    assert!(
        said.contains("OCSP response: no response sent") && said.contains("Verify return code: 0"),
        "{said}"
    );
    answer(folder, "app", false);
    assert_eq!(engine.reload()["data"]["outcome"], "loaded");
    assert!(good(&shown("tls1_3")));
    // What cannot be right is a problem, and what was read before goes on.
    let whole = std::fs::read(folder.join("app.ocsp")).expect("made");
    for (bytes, why) in [
        (std::fs::read(folder.join("other.ocsp")).expect("made"), "it is about another certificate"),
        (whole[..whole.len() / 2].to_vec(), "it is no answer of OCSP"),
        (vec![0x30, 3, 0x0a, 1, 3], "the authority gave no answer"),
        (Vec::new(), "it is no answer of OCSP"),
    ] {
        std::fs::write(folder.join("app.ocsp"), bytes).expect("the folder");
        let refused = engine.reload().to_string();
        assert!(refused.contains("app.ocsp") && refused.contains(why), "{refused}");
    }
    answer(folder, "app", true);
    let refused = engine.reload().to_string();
    assert!(refused.contains("it says that the certificate was revoked"), "{refused}");
    assert!(good(&shown("tls1_2")));
}
