//! A listening socket that fails: counted, told, and not given up.

use std::io::Write;
use std::sync::{Arc, Mutex};

use crate::support::{Engine, Server, eventually};

/// What was logged.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no holder panics").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

//= test OBS-ACCEPT-01
#[test]
fn a_socket_that_listens_no_more_is_counted_told_once_and_tried_on() {
    let said = Said::default();
    let writer = said.clone();
    let log = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    tracing::subscriber::set_global_default(log).expect("there is none before");
    let server = Server::echo("s");
    let document = format!(
        "version = 1\n[[virtual_service]]\nname = \"web\"\nlisten = [\"127.0.0.1:1\"]\npool = \"web\"\n\
         [[pool]]\nname = \"web\"\nserver = [{{ address = \"{}\" }}]\n",
        server.address
    );
    let engine = Engine::start(&document, 1);
    engine.close_sockets();
    eventually("it is tried again and again", || engine.count(|m| m.accept_errors.get()) > 5);
    let said = String::from_utf8(said.0.lock().expect("no holder panics").clone()).expect("text");
    // Other tests of this program say something too, of addresses of their own.
    let at = engine.addresses[0].to_string();
    let told = said.lines().filter(|line| line.contains("SE_ACCEPT_FAILED") && line.contains(&at)).count();
    assert_eq!(told, 1, "{said}");
}
