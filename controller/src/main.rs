//! `forebay-controller`: serves the API over what its data folder has.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use forebay_controller::accounts::Accounts;
use forebay_controller::api::App;
use forebay_controller::objects::Objects;
use forebay_controller::sealed::Seal;
use forebay_controller::server;
use forebay_controller::store::Embedded;
use tokio::signal::unix::{SignalKind, signal};

/// The Controller: keeps the objects and serves the API by which they are managed.
#[derive(Parser)]
#[command(name = "forebay-controller", version)]
struct Arguments {
    /// Where it keeps its store, its certificate and its key; made if it is not there.
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/forebay/controller")]
    data_dir: PathBuf,
    /// Where the API listens.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9443")]
    listen: SocketAddr,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).json().init();
    // One thread answers; passwords and the disk have threads of their own.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("no runtime: {error}")),
    };
    match runtime.block_on(run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => failed(&text),
    }
}

fn failed(text: &str) -> ExitCode {
    eprintln!("forebay-controller: {text}");
    ExitCode::FAILURE
}

async fn run(arguments: &Arguments) -> Result<(), String> {
    let folder = &arguments.data_dir;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| format!("{}: {error}; name another folder by --data-dir", folder.display()))?;
    let store = Embedded::open(&folder.join("store.redb")).map_err(|refusal| refusal.to_string())?;
    let seal = Seal::open(&folder.join("store.key"))?;
    let tls = server::certificate(folder, arguments.listen)?;
    let accounts = Accounts::new()?;
    let first = accounts.first(&store).await.map_err(|refusal| refusal.to_string())?;
    let objects = Objects::open(store.clone(), seal).await.map_err(|refusal| refusal.to_string())?;
    let seeds = forebay_controller::seeds::all()?;
    objects.seed(seeds.into_iter()).await.map_err(|denied| format!("built-in objects: {denied:?}"))?;
    let app = Arc::new(App { store, objects, accounts });
    let listener = tokio::net::TcpListener::bind(arguments.listen)
        .await
        .map_err(|error| format!("{}: {error}; choose another by --listen", arguments.listen))?;
    let at = listener.local_addr().map_err(|error| error.to_string())?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    println!("API: https://{at}");
    println!("certificate: {}", server::fingerprint(folder)?);
    if let Some(password) = first {
        println!("user: admin");
        println!("password: {password} (shown this once)");
    }
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    server::serve(app, listener, tls, stop).await.map_err(|error| error.to_string())
}
