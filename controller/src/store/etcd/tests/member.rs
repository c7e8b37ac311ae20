//! A member of etcd that goes with its test.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use forebay_etcd::Client;
use forebay_etcd::proto::RangeRequest;

use super::LOOK_EVERY;

pub struct Member {
    child: Child,
    address: String,
}

const PORT: u16 = 2379;

impl Member {
    /// Starts one that answers. Each test has an address of its own, on which all ports are free.
    pub async fn start(folder: &Path, number: u8, more: &[&str]) -> Self {
        let process = std::process::id();
        let address = format!("127.{}.{}.{number}", 64 + (process >> 8) % 64, process & 255);
        let (clients, peers) = (format!("http://{address}:{PORT}"), format!("http://{address}:2380"));
        let mut command = Command::new("etcd");
        command.args([
            "--name=one",
            "--log-level=error",
            "--heartbeat-interval=50",
            "--election-timeout=300",
        ]);
        command.arg(format!("--data-dir={}", folder.join("etcd").display()));
        command
            .args([format!("--listen-client-urls={clients}"), format!("--advertise-client-urls={clients}")]);
        command
            .args([format!("--listen-peer-urls={peers}"), format!("--initial-advertise-peer-urls={peers}")]);
        command.arg(format!("--initial-cluster=one={peers}")).args(more);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let member = Member { child: child.expect("etcd: cargo xtask setup --install installs it"), address };
        let client = Client::new(vec![member.endpoint().parse().expect("an endpoint")], None);
        let deadline = Instant::now() + Duration::from_secs(20);
        while client.range(RangeRequest { key: b"x".to_vec(), ..Default::default() }).await.is_err() {
            assert!(Instant::now() < deadline, "etcd does not answer");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        member
    }

    pub fn port(&self) -> (String, u16) {
        (self.address.clone(), PORT)
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}:{PORT}", self.address)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
