//! An engine in a folder of its own, and servers behind it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_forebay-se");

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Waits until `is` holds.
pub fn eventually(what: &str, within: Duration, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + within;
    while !is() {
        assert!(Instant::now() < until, "not within {within:?}: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A few seconds.
pub fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// A loopback address of this process that nobody listens on.
pub fn address() -> SocketAddr {
    // One loopback address for each process, so that tests that run side by side cannot take each other's port.
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    let [high, low, ..] = std::process::id().to_le_bytes();
    loop {
        let address = SocketAddr::from(([127, 99, high, low.max(1)], NEXT.fetch_add(1, Ordering::Relaxed)));
        // Bound and never listening: a child of another test, between its fork and its exec, holds this socket too, and
        // one that listened would keep the address taken meanwhile.
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("the option is known");
        if socket.bind(&address.into()).is_ok() {
            return address;
        }
    }
}

/// A server that answers each connection's one request with its status.
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    /// Connections so far.
    pub accepted: Arc<AtomicUsize>,
    status: Arc<AtomicU16>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// A status that means: close without an answer.
pub const SILENT: u16 = 0;

impl Origin {
    /// Starts one that answers 200.
    pub fn start() -> Self {
        Self::at(address())
    }

    /// Starts one at an address.
    pub fn at(address: SocketAddr) -> Self {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("the option is known");
        socket.bind(&address.into()).expect("the address is free");
        socket.listen(128).expect("it listens");
        let listener: TcpListener = socket.into();
        listener.set_nonblocking(true).expect("the option is known");
        let mut this = Self {
            address,
            accepted: Arc::default(),
            status: Arc::new(AtomicU16::new(200)),
            stop: Arc::default(),
            thread: None,
        };
        let (accepted, status, stop) = (this.accepted.clone(), this.status.clone(), this.stop.clone());
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else {
                    std::thread::sleep(LOOK_EVERY);
                    continue;
                };
                accepted.fetch_add(1, Ordering::Relaxed);
                let status = status.load(Ordering::Relaxed);
                std::thread::spawn(move || serve(stream, status));
            }
        });
        this.thread = Some(thread);
        this
    }

    /// Answers with another status from now on.
    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server ends");
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.end();
    }
}

fn serve(mut stream: TcpStream, status: u16) {
    stream.set_nonblocking(false).expect("the option is known");
    stream.set_read_timeout(Some(secs(5))).expect("the option is known");
    let mut head = Vec::new();
    let mut piece = [0; 1_024];
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(read) if read > 0 => head.extend_from_slice(&piece[..read]),
            _ => return,
        }
    }
    if status != SILENT {
        // The client may be gone: then there is nobody to answer.
        let _ = write!(stream, "HTTP/1.1 {status} Said\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes");
    }
}

/// A running engine; it is stopped when dropped.
pub struct Engine {
    /// Its folder.
    pub folder: PathBuf,
    /// Its metrics address.
    pub metrics: SocketAddr,
    child: Child,
}

impl Engine {
    /// Starts one with further keys of `[engine]` and the rest of a document, and waits until it is ready.
    pub fn start(engine: &str, rest: &str) -> Self {
        let this = Self::spawn(engine, rest, &[]);
        eventually("the engine is ready", secs(20), || {
            this.get("/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
        });
        this
    }

    /// Starts one without waiting; `under` is put before the program.
    pub fn spawn(engine: &str, rest: &str, under: &[&str]) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("forebay-engine-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let metrics = address();
        // Few table bytes: reserving them is no part of these tests.
        let document = format!(
            "version = 1\n[engine]\nworkers = 2\nmemory_gib = 1\npersistence_mem_max_bytes = 16777216\n\
             admin_socket = \"a.sock\"\nmetrics_listen = \"{metrics}\"\n{engine}\n{rest}"
        );
        std::fs::write(folder.join("se.toml"), document).expect("the configuration is written");
        let log = std::fs::File::create(folder.join("process.log")).expect("the log is made");
        let mut line: Vec<&str> = under.to_vec();
        line.extend([PROGRAM, "run", "--config", "se.toml", "--allow-faults"]);
        let child = Command::new(line[0])
            .args(&line[1..])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .spawn()
            .expect("the engine starts");
        Self { folder, metrics, child }
    }

    /// The answer to a GET at the metrics address, head and body.
    pub fn get(&self, path: &str) -> Option<String> {
        request(self.metrics, &format!("GET {path} HTTP/1.1\r\nHost: m\r\n\r\n"))
    }

    /// The sum of a metric's samples with these labels; 0 without any.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let page = self.get("/metrics").unwrap_or_default();
        let fits = |line: &&str| {
            line.split(['{', ' ']).next() == Some(name) && labels.iter().all(|label| line.contains(label))
        };
        page.lines().filter(fits).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Runs a command against the engine.
    pub fn ask(&self, arguments: &[&str]) -> Output {
        Command::new(PROGRAM)
            .args(arguments)
            .args(["--socket", "a.sock"])
            .current_dir(&self.folder)
            .output()
            .expect("the command runs")
    }

    /// The JSON answer of a command that succeeds.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let done = self.ask(&[arguments, &["--output", "json"]].concat());
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// What it has logged about itself.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.folder.join("process.log")).unwrap_or_default()
    }

    /// The access log.
    pub fn access_log(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: kill takes two integers; the process is our own child and not yet waited for.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// Waits for its end and gives the exit code.
    pub fn ended(&mut self, within: Duration) -> Option<i32> {
        let mut status = None;
        eventually("the engine ends", within, || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        status.and_then(|status| status.code())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal(libc::SIGTERM);
            self.signal(libc::SIGINT);
            let until = Instant::now() + secs(5);
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
                std::thread::sleep(LOOK_EVERY);
            }
            // It may have ended meanwhile.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- {} said:\n{}", self.folder.display(), self.said());
        } else {
            // A folder that is gone needs no removal.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// Sends bytes and reads until the other side closes.
pub fn request(to: SocketAddr, bytes: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&to, secs(2)).ok()?;
    stream.set_read_timeout(Some(secs(10))).ok()?;
    stream.write_all(bytes.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    (!answer.is_empty()).then(|| String::from_utf8_lossy(&answer).into_owned())
}

/// One request through a service; the answer, head and body.
pub fn through(service: SocketAddr, path: &str, headers: &str) -> Option<String> {
    request(service, &format!("GET {path} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n{headers}\r\n"))
}

/// A service with one pool of these servers; `pool` holds further keys of the pool.
pub fn service(name: &str, listen: SocketAddr, pool: &str, servers: &[SocketAddr]) -> String {
    let list: Vec<String> = servers.iter().map(|s| format!("{{ address = \"{s}\" }}")).collect();
    format!(
        "[[virtual_service]]\nname = \"{name}\"\nlisten = [\"{listen}\"]\npool = \"{name}\"\n\
         [[pool]]\nname = \"{name}\"\nconnection_ramp_min = 0\n{pool}\nserver = [{}]\n",
        list.join(", ")
    )
}

/// A monitor that looks every two seconds.
pub const MONITOR: &str =
    "[[health_monitor]]\nname = \"http\"\ntype = \"http\"\nsend_interval_s = 2\nreceive_timeout_s = 1\n";

/// A key for cookies; it protects nothing.
pub const COOKIE_KEY: &str =
    "[[cookie_key]]\nname = \"k1\"\nkey = \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"\n";

impl Engine {
    /// Stops it and waits for the end.
    pub fn ended_by_stop(&mut self) {
        self.signal(libc::SIGTERM);
        self.ended(secs(10));
    }
}
