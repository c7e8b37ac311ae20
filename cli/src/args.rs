//! What can be typed: one definition feeds parsing, completions and the man page.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A software-defined application load balancer.
#[derive(Parser)]
#[command(name = "forebay", version, propagate_version = true)]
pub struct Cli {
    /// Form of what is printed on standard output
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Form of the answers on standard output.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Lines for people
    Text,
    /// One JSON document per line, stable and complete
    Json,
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Run two service engines that share their tables, with servers behind them, on loopback, until Ctrl-C
    Up(Up),
    /// Run one demo HTTP server
    DemoServer(DemoServer),
    /// Print the completion script of a shell
    Completions {
        /// The shell to complete for
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff)
    Man,
}

/// Options of `forebay up`.
#[derive(Args)]
pub struct Up {
    /// A server to put behind the service engines, instead of the demo servers; repeatable
    #[arg(long = "server", value_name = "HOST:PORT")]
    pub servers: Vec<String>,
    /// Send a load through them, stop one demo server and one engine in the middle, report, and end
    #[arg(long)]
    pub once: bool,
    /// Data folder: one that is empty, not there yet, or of an earlier run; the default is the first free one below the
    /// user's state folder
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// First port to try for the virtual services; a taken one is passed over, and said
    #[arg(long, default_value_t = 8080, value_name = "PORT")]
    pub port: u16,
    /// Workers of each service engine
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// Clients of `--once`, shared out evenly over the four services
    #[arg(long, default_value_t = 320, value_name = "N", value_parser = clap::value_parser!(u32).range(8..=40_000))]
    pub clients: u32,
    /// Requests of each client of `--once`
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(4..=10_000))]
    pub requests: u32,
    /// The service engines' program; the default is `forebay-se` beside this program
    #[arg(long, value_name = "FILE")]
    pub engine: Option<PathBuf>,
}

/// Options of `forebay demo-server`.
#[derive(Args)]
pub struct DemoServer {
    /// Address to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: SocketAddr,
    /// Name that the server tells in every answer
    #[arg(long, default_value = "demo")]
    pub name: String,
    /// Take the next free port if this one is taken
    #[arg(long)]
    pub or_next: bool,
}
