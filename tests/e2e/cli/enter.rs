//! Coming in and going out.

use std::os::unix::fs::PermissionsExt;

use forebay_e2e::wait::secs;
use forebay_e2e::{Terminal, eventually};

use crate::User;

//= test CLI-LOGIN-01
//= test CLI-LOGIN-02
//= test API-FINGERPRINT-01
#[test]
fn a_login_compares_the_certificate_and_keeps_a_token_for_its_user_alone() {
    let mut user = User::new();
    let (at, fingerprint) = (user.at(), user.fingerprint());
    user.run(&["pool", "list"]).says(5, "forebay login HOST:PORT");
    let password = user.controller.password.clone() + "\n";
    let unknown = user.fed(&["login", &at, "--password-stdin"], &password);
    unknown.says(2, &fingerprint).says(2, "forebay login");
    let zero = format!("SHA256:{}", "0".repeat(64));
    let other = user.fed(&["login", &at, "--fingerprint", &zero, "--password-stdin"], &password);
    other.says(5, "another fingerprint");
    user.fed(&["login", &at, "--fingerprint", &fingerprint, "--password-stdin"], "wrong\n")
        .says(5, "Invalid credentials");
    user.log_in().says(0, "you are admin");
    let file = user.lab.folder().join(".config/forebay/logins.json");
    let mode = std::fs::metadata(&file).expect("a file").permissions().mode() & 0o777;
    let text = std::fs::read_to_string(&file).expect("a file");
    assert!(mode == 0o600 && !text.contains(&user.controller.password), "{mode:o}");
    user.run(&["pool", "list"]).says(0, "NAME");

    // Others could have read the token.
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("a mode");
    user.run(&["pool", "list"]).says(1, "chmod 600");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("a mode");

    // Another certificate at the same address, as somebody in between would have.
    user.controller.process.kill();
    for name in ["api.crt", "api.key"] {
        std::fs::remove_file(user.controller.data.join(name)).expect("it goes");
    }
    let (controller, lab) = (&mut user.controller, &user.lab);
    controller.again(lab);
    user.run(&["pool", "list"]).says(7, "another certificate").says(7, &format!("forebay login {at}"));
    user.log_in().says(0, "you are admin");

    user.run(&["logout"]).says(0, "not logged in");
    let token =
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["logins"][&at]["token"].clone();
    std::fs::write(&file, text.replace(&fingerprint, &user.fingerprint())).expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    assert!(token.is_string());
    // The first token was not deleted by a logout of the second.
    user.run(&["pool", "list"]).says(0, "NAME");
    user.run(&["logout"]).says(0, "not logged in");
    std::fs::write(&file, text.replace(&fingerprint, &user.fingerprint())).expect("a file");
    user.run(&["pool", "list"]).says(5, "has ended");
    user.controller.process.kill();
    user.run(&["pool", "list"]).says(7, "cannot be reached");
}

//= test CLI-LOGIN-01
#[test]
fn at_a_terminal_the_fingerprint_is_asked_for_and_the_password_is_not_shown() {
    let user = User::new();
    let mut terminal = Terminal::start(user.command(&["login", &user.at()]), 24, 120);
    terminal.wait_to_write("(yes/no)", secs(15));
    terminal.wait_to_write(&user.fingerprint(), secs(15));
    terminal.press("yes\n");
    terminal.wait_to_write("Password of admin", secs(15));
    let password = user.controller.password.clone();
    eventually("the terminal shows nothing of it", secs(15), || terminal.settings().3 & libc::ECHO == 0);
    terminal.press(&format!("{password}\n"));
    terminal.wait_to_write("you are admin", secs(15));
    assert!(!String::from_utf8_lossy(&terminal.written).contains(&password));
    assert!(terminal.ends(secs(15)).success());
    assert_eq!(terminal.settings(), terminal.before, "the terminal is as it was");
}
