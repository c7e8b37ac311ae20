//! A server's own session: kept as long as it is used, and forgotten when the server ends it.

use crate::memory::Lab;

const SERVERS: [&str; 3] = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];

/// Three servers by turns that open a session on `/login` and end it on `/logout`, one minute after its last use at
/// the latest.
fn lab() -> Lab {
    let servers: String = SERVERS.map(|a| format!("[[pool.server]]\naddress = \"{a}\"\n")).concat();
    let lab = Lab::new(&format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"192.0.2.1:80\"]\npool = \"web\"\n\
         [[pool]]\nname = \"web\"\nalgorithm = \"round_robin\"\npersistence = \"s\"\n{servers}\
         [[persistence]]\nname = \"s\"\ntype = \"app_cookie\"\ncookie_name = \"SID\"\ntimeout_min = 1\n"
    ));
    for address in SERVERS {
        lab.server(address, move |_, mut peer| async move {
            loop {
                let head = peer.until("\r\n\r\n").await;
                let cookie = match head.split(' ').nth(1) {
                    Some("/login") => "Set-Cookie: SID=one; Path=/\r\n",
                    Some("/logout") => "Set-Cookie: SID=one; Path=/; Max-Age=0\r\n",
                    Some(_) => "",
                    None => return,
                };
                let name = format!("{address};");
                peer.send(format!("HTTP/1.1 200 OK\r\n{cookie}Content-Length: {}\r\n\r\n{name}", name.len()))
                    .await;
            }
        });
    }
    lab
}

/// Asks with the session's cookie on a new connection, and gives the server's name.
async fn ask(lab: &Lab, path: &str) -> String {
    let mut client = lab.client().await;
    client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nCookie: SID=one\r\n\r\n")).await;
    client.until("\r\n\r\n").await;
    client.until(";").await
}

//= test SE-PERSIST-02
#[test]
fn a_session_that_is_used_lives_on_and_one_that_is_not_ends() {
    let lab = lab();
    lab.run(async {
        let home = ask(&lab, "/login").await;
        for n in 1..=4 {
            // Together far longer than the minute.
            lab.sleep_ms(50_000).await;
            assert_eq!(ask(&lab, "/").await, home, "after {n} times 50 s");
        }
        lab.sleep_ms(61_000).await;
        assert_ne!(ask(&lab, "/").await, home, "the next one by turn");
    });
}

//= test SE-PERSIST-02
#[test]
fn a_session_that_its_server_ends_is_forgotten() {
    let lab = lab();
    lab.run(async {
        let home = ask(&lab, "/login").await;
        for _ in 0..3 {
            assert_eq!(ask(&lab, "/").await, home);
        }
        assert_eq!(ask(&lab, "/logout").await, home);
        let next = [ask(&lab, "/").await, ask(&lab, "/").await, ask(&lab, "/").await];
        assert!(next[0] != next[1] && next[1] != next[2] && next[0] != next[2], "by turn: {next:?}");
    });
}
